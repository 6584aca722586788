"""`m3rag train`, run from its command line."""

import json
from dataclasses import fields

import pytest
import typer
from typer.testing import CliRunner

from m3rag import M3Model
from m3rag.cli.app import app
from m3rag.errors import InputError
from m3rag.training import TrainingSettings, read_mix, write_teacher_vectors
from tests.training.conftest import HELD_OUT, write

pytestmark = pytest.mark.filterwarnings("ignore::m3rag.errors.TruncationWarning")
QUICK = ["--max-steps", "2", "--batch", "4", "--max-passage-length", "32"]


def m3rag(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


def test_options_have_the_defaults_of_the_settings():
    command = typer.main.get_command(app).commands["train"]
    defaults = {parameter.name: parameter.default for parameter in command.params}
    for field in fields(TrainingSettings):
        default = defaults[field.name]
        assert (() if default is None and field.name == "freeze" else default) == field.default


def test_train_and_run_again(pairs, tmp_path):
    line = ["train", "--data", pairs, "--model", "tiny", "--to", tmp_path / "m3", *QUICK]
    done = m3rag(*line, "--freeze", "embeddings", "--freeze", "positions", "--no-distil")
    assert done.exit_code == 0
    assert "2 steps, 8 queries" in done.stdout
    again = m3rag(*line, "--freeze", "positions", "--freeze", "embeddings", "--no-distil", "--json")
    summary = json.loads(again.stdout)
    assert summary["steps"] == 2
    assert "distillation" not in summary["losses"]
    with M3Model.load(tmp_path / "m3") as model:
        assert model.encode(["a"]).dense.shape == (1, 256)


def test_held_out_scores_are_in_the_summary(pairs, tmp_path):
    done = m3rag(
        "train", "--data", pairs, "--model", "tiny", "--to", tmp_path / "m3", *QUICK,
        "--evaluation", HELD_OUT, "--json",
    )  # fmt: skip
    scores = json.loads(done.stdout)["scores"]
    assert 0.5 < scores["default recall@10"] <= 1


def test_a_mix_and_the_vectors_of_a_teacher(rows, tmp_path):
    write(tmp_path / "pairs.jsonl", rows)
    mix, vectors = tmp_path / "mix.toml", tmp_path / "vectors.safetensors"
    mix.write_text('[[task]]\ndata = "pairs.jsonl"\nsame_source = 0.5\nbatch = 3\n')
    with M3Model.load("tiny") as model:

        class Teacher:
            def queries(self, texts, /):
                return model.encode(texts).dense

            passages = queries

        write_teacher_vectors(Teacher(), read_mix(mix), vectors)
    done = m3rag(
        "train", "--mix", mix, "--teacher-vectors", vectors, "--model", "tiny", "--to",
        tmp_path / "m3", *QUICK, "--json",
    )  # fmt: skip
    summary = json.loads(done.stdout)
    assert summary["queries"] == 6  # the task's batch, not that of the run
    assert summary["losses"]["teacher_vectors"] > 0


def test_missing_or_wrong_options(tmp_path):
    for line in ([], ["--to", "b"], ["--to", "b", "--data", "a", "--mix", "c"]):
        with pytest.raises(InputError, match="needs --data FILE or --mix FILE, and --to FOLDER"):
            m3rag("train", *line)
    with pytest.raises(InputError, match="--range must be two ranks such as 10-200, got '10'"):
        m3rag("train", "mine", "--data", "a", "--to", "b", "--range", "10")


def test_mine(tmp_path):
    rows = [{"query": f"{word}?", "pos": [f"About {word}."]} for word in ("sun", "moon", "sea")]
    data = write(tmp_path / "pairs.jsonl", rows)
    line = ["train", "mine", "--data", data, "--model", "tiny", "--range", "1-9"]
    done = m3rag(*line, "--to", tmp_path / "mined.jsonl.zst", "--scores")
    assert done.exit_code == 0
    printed = " ".join(done.stdout.split())
    assert "6 negatives for 3 examples in " in printed
    assert printed.endswith("; 0 examples have none.")
    done = m3rag(*line, "--to", tmp_path / "mined.jsonl.zst", "--json")
    assert json.loads(done.stdout)["negatives"] == 6
