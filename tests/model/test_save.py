"""A model is written whole or not at all, and other libraries load it."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from m3rag import M3Model
from m3rag.errors import CheckpointError, InputError
from m3rag.model import checkpoint as checkpoints
from m3rag.model import export
from tests.conftest import TEXTS, hear_ctrl_c
from tests.model.test_parity import assert_equal, flag_encode
from tests.trials.small_model import write_small


@pytest.fixture
def small(tmp_path):
    return write_small(tmp_path / "source", hidden_size=64)


def test_a_saved_model_is_complete(tiny, tmp_path):
    tiny.save(tmp_path / "new" / "copy")
    folder = tmp_path / "new" / "copy"
    with M3Model.load(folder, dtype="float32") as copy:
        assert copy.fingerprint == tiny.fingerprint
        assert copy.presets == tiny.presets
    saved = checkpoints.read(folder)
    assert {tensor.dtype for _, tensor in saved.tensors()} == {torch.float16}
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float16"
    for name in ("README.md", "LICENSE"):
        assert (folder / name).read_bytes() == (tiny._source / name).read_bytes()
    assert os.listdir(tmp_path / "new") == ["copy"]


@pytest.mark.filterwarnings("ignore")  # warnings of the other libraries
@pytest.mark.parametrize("name", ["tiny", "small"])
def test_other_libraries_load_it_with_equal_numbers(name, tmp_path):
    """ "small" is stored packed, so this also compares the unpacked numbers."""
    from FlagEmbedding import BGEM3FlagModel
    from sentence_transformers import SentenceTransformer

    texts = TEXTS[:12]
    with M3Model.load(name, dtype="float32") as ours:
        ours.save(tmp_path / "copy")
        encoding = ours.encode(texts)
    flag = BGEM3FlagModel(str(tmp_path / "copy"), use_fp16=False, devices="cpu")
    assert_equal(flag_encode(flag, texts, 512), encoding, len(texts))
    theirs = SentenceTransformer(
        str(tmp_path / "copy"), device="cpu", model_kwargs={"dtype": "float32"}
    )
    expected = theirs.encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(encoding.dense, expected, atol=1e-5)


def test_a_packed_copy_can_be_saved_and_saved_again(small, tmp_path):
    with M3Model.load(small, dtype="float32") as model:
        model.save(tmp_path / "packed", packed=True)
    with M3Model.load(tmp_path / "packed", dtype="float32") as model:
        model.save(str(tmp_path / "plain"))
        model.save(tmp_path / "again", packed=True)
        dense = model.encode(["soil"]).dense
    for path in (tmp_path / "packed").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    with M3Model.load(tmp_path / "plain", dtype="float32") as model:
        assert np.array_equal(model.encode(["soil"]).dense, dense)


def test_a_model_from_memory_can_be_saved(small, tmp_path):
    with M3Model(checkpoints.read(small), dtype="float32") as model:
        model.save(tmp_path / "copy")
        with M3Model.load(tmp_path / "copy", dtype="float32") as copy:
            assert copy.fingerprint == model.fingerprint


def test_the_working_directory_may_change(small, tmp_path, monkeypatch):
    monkeypatch.chdir(small.parent)
    with M3Model.load("./source", dtype="float32") as model:
        monkeypatch.chdir("/")
        model.save(tmp_path / "copy")
    assert (tmp_path / "copy" / "model.safetensors").is_file()


def test_weights_that_have_changed_since(small, tmp_path):
    with M3Model.load(small, dtype="float32") as model:
        head = {"weight": torch.ones(1, 64), "bias": torch.zeros(1)}
        torch.save(head, small / "sparse_linear.pt")
        with pytest.raises(CheckpointError, match="its files have changed"):
            model.save(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_the_folder_must_be_new_or_empty(small, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with M3Model.load(small, dtype="float32") as model:
        model.save(tmp_path / "empty")
        for taken in ("empty", "full", "full/notes.txt"):
            with pytest.raises(InputError, match="exists and is not"):
                model.save(tmp_path / taken)
        for wrong in ("", None, 5):
            with pytest.raises(InputError, match="must be a path"):
                model.save(wrong)
        with pytest.raises(CheckpointError, match="cannot be written"):
            model.save(tmp_path / "full" / "notes.txt" / "below")
    assert (tmp_path / "full" / "notes.txt").read_text() == "mine"


def test_numbers_that_float16_does_not_have(small, tmp_path):
    big = checkpoints.read(small)
    big.heads["sparse_linear"]["bias"][0] = 70_000.0
    error = pytest.raises(CheckpointError, match="sparse_linear in float16: bias contains")
    with M3Model(big, dtype="float32") as model, error:
        model.save(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_leaves_nothing(tmp_path):
    command = [sys.executable, "-m", "m3rag", "export", "tiny", str(tmp_path / "copy")]
    process = subprocess.Popen(command, preexec_fn=hear_ctrl_c, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_an_error_on_the_way_leaves_nothing(small, tmp_path, monkeypatch):
    def full(_folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "_flush", full)  # the last step; the files are there
    error = pytest.raises(CheckpointError, match="copy cannot be written: No space left")
    with M3Model.load(small, dtype="float32") as model, error:
        model.save(tmp_path / "copy")
    assert os.listdir(tmp_path) == ["source"]


def test_the_command(small, m3rag, tmp_path):
    status, out, _ = m3rag("export", small, tmp_path / "copy", "--packed", "--json")
    assert status == 0
    found = json.loads(out)
    assert found["packed"] is True
    assert found["bytes"] == sum(path.stat().st_size for path in (tmp_path / "copy").iterdir())
    status, _, err = m3rag("export", small, tmp_path / "copy")
    assert (status, "is not empty" in err) == (1, True)
    status, out, _ = m3rag("export", small, tmp_path / "plain")
    assert status == 0
    assert out.rstrip().endswith(" MB.")


@pytest.mark.filterwarnings("ignore")  # warnings of the other libraries
def test_other_libraries_refuse_a_packed_folder(small, tmp_path):
    """They would take random weights and an empty vocabulary otherwise."""
    from FlagEmbedding import BGEM3FlagModel
    from sentence_transformers import SentenceTransformer

    with M3Model.load(small, dtype="float32") as model:
        model.save(tmp_path / "packed", packed=True)
    folder = str(tmp_path / "packed")
    for load in (BGEM3FlagModel, SentenceTransformer):
        with pytest.raises(ValueError, match=r"m3rag-packed|backend tokenizer"):
            load(folder)
