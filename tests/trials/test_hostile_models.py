"""Hostile model folders: each is refused with an error of ours, or gives finite numbers.

No folder takes more than 10 seconds or 1 GB, and none shows a foreign traceback.
"""

import json
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from m3rag.model.lookup import BUNDLED
from tests.trials.hostile_model_cases import constructed
from tests.trials.hostile_models import mutated
from tests.trials.record import SEED, record
from tests.trials.small_model import write_small

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")

MUTATIONS = 300  # of the small model, in the long trial
ON_TINY = 60  # of the bundled model
LONGEST = 3000  # characters of a message
QUICK = 11  # every eleventh constructed folder is tried in the quick trial


@contextmanager
def loader():
    """A function that loads a folder in a child of a process that has imported torch."""
    command = [sys.executable, "-m", "tests.trials.model_child"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as process:

        def load(folder):
            process.stdin.write(json.dumps(str(folder)) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield load
        process.stdin.close()


def try_all(cases, original, tmp_path):
    """Try each case; return the counts of results, the bad ones, and the most time and memory."""
    counts: Counter[str] = Counter()
    bad, most = [], {"seconds": 0.0, "bytes": 0}
    with loader() as load:
        assert load(original)["kind"] == "finite"
        for name, change in cases:
            folder = tmp_path / "hostile"
            shutil.copytree(original, folder)
            change(folder)
            result = load(folder)
            shutil.rmtree(folder)
            counts[result["kind"]] += 1
            most = {key: max(most[key], result[key]) for key in most}
            fine = result["kind"] in ("finite", "own") and len(result["message"]) <= LONGEST
            if not fine:
                bad.append((name, result))
    return counts, bad, most


def test_some_hostile_folders(tmp_path):
    small = write_small(tmp_path / "small")
    cases = [*list(constructed())[SEED % QUICK :: QUICK], *map(mutated, range(SEED, SEED + 12))]
    counts, bad, _ = try_all(cases, small, tmp_path)
    assert bad == []
    assert counts["own"] > 30


@pytest.mark.trial
@pytest.mark.timeout(900)
def test_many_hostile_folders(tmp_path):
    small = write_small(tmp_path / "small")
    cases = [*constructed(), *map(mutated, range(SEED, SEED + MUTATIONS))]
    counts, bad, most = try_all(cases, small, tmp_path)
    tiny = [*map(mutated, range(SEED, SEED + ON_TINY))]
    on_tiny, bad_on_tiny, most_on_tiny = try_all(tiny, BUNDLED["tiny"], tmp_path)
    counts, bad = counts + on_tiny, bad + bad_on_tiny
    most = {key: max(most[key], most_on_tiny[key]) for key in most}
    record(
        "hostile model folders",
        tried=counts.total(),
        wrong=counts["not finite"],
        hung=counts["hung"],
        raw=counts["raw"] + counts["died"] + counts["over memory"],
        note=f"{counts['own']} refused, {counts['finite']} loaded; at most "
        f"{most['seconds']:.1f} s and {most['bytes'] >> 20} MB{''.join(f'; {b}' for b in bad)}"[
            :2000
        ],
    )
    assert bad == []  # also messages that are too long
