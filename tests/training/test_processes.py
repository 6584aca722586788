"""Two processes on CPUs train as one."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest

from m3rag.training import train
from tests.training.conftest import write

# The second process reads the folder long after the first is ready to write to it.
_LATE = """
import os, time
from m3rag.cli.app import main
from m3rag.training.state import State

progress = State.progress

def late(state):
    time.sleep(4 * int(os.environ["RANK"]))
    return progress(state)

State.progress = late
main()
"""


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::m3rag.errors.TruncationWarning")
def test_two_processes_average_their_gradients(rows, quick, tmp_path):
    """Without in-batch negatives, two batches of 4 are equal to one of 8."""
    data = write(
        tmp_path / "hard.jsonl",
        [{"query": rows[i]["query"], "pos": rows[i]["pos"][:1], "neg": ["No."]} for i in range(8)],
    )
    options = ["--max-steps", "2", "--epochs", "2", "--batch", "4", "--no-in-batch-negatives"]
    options += ["--freeze", "embeddings", "--freeze", "positions"]
    options += ["--max-passage-length", "24", "--learning-rate", "3e-4", "--dtype", "float32"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    late = tmp_path / "late.py"
    late.write_text(_LATE)
    launch += [str(late), "train", "--data", str(data), "--model", "tiny", *options]
    done = subprocess.run(
        [*launch, "--to", str(tmp_path / "two"), "--device", "cpu"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 steps, 16 queries") == 1

    settings = quick(
        max_steps=2, epochs=2, batch=8, in_batch_negatives=False, max_query_length=512,
        max_passage_length=24, learning_rate=3e-4,
    )  # fmt: skip
    train(data, tmp_path / "one", model="tiny", settings=settings)
    two, one = (
        [
            (int(row["queries"]), float(row["loss"]), float(row["gradient"]))
            for row in csv.DictReader(
                (tmp_path / name / "training" / "log.csv").read_text().splitlines()
            )
        ]
        for name in ("two", "one")
    )
    np.testing.assert_allclose(two, one, rtol=1e-3)
