"""Each argument of a model is checked where it is given, in front of any reading."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from m3rag import M3Model, shared_model
from m3rag.errors import CheckpointError, InputError
from m3rag.model import checkpoint
from m3rag.model.lookup import locate

BAD = [
    ({"memo_bytes": -1}, "`memo_bytes` must be at least 0, got -1"),
    ({"memo_bytes": 1e6}, "`memo_bytes` must be an integer, got float"),
    ({"memo_bytes": None}, "`memo_bytes` must be an integer, got NoneType"),
    ({"memo_bytes": True}, "`memo_bytes` must be an integer, got bool"),
    ({"batch_tokens": 0}, "`batch_tokens` must be at least 1, got 0"),
    ({"batch_tokens": -(10**5000)}, "at least 1, got a number of more than 18 digits"),
    ({"batch_tokens": False}, "`batch_tokens` must be an integer, got bool"),
    ({"batch_tokens": "512"}, "`batch_tokens` must be an integer, got str"),
    ({"max_length": 2}, "max_length=2 is out of range"),
    ({"max_length": True}, "`max_length` must be an integer, got bool"),
    ({"max_length": 128.0}, "`max_length` must be an integer, got float"),
    ({"max_length": [128]}, "`max_length` must be an integer, got list"),
    ({"max_length": Fraction(7, 2)}, "`max_length` must be an integer, got Fraction"),
    ({"revision": 5}, "`revision` must be a branch, tag or commit"),
    ({"revision": ""}, "`revision` must be a branch, tag or commit"),
    ({"revision": "../../etc"}, "`revision` must be a branch, tag or commit"),
    ({"revision": "a\nb"}, "`revision` must be a branch, tag or commit"),
    ({"dtype": None}, "`dtype` must be"),
    ({"dtype": np.dtype("float32")}, "`dtype` must be"),
    ({"dtype": "x" * 10_000}, "`dtype` must be"),
    ({"dtype": torch.int8}, "`dtype` must be"),
    ({"device": None}, "`device` must be a name"),
    ({"device": True}, "`device` must be a name"),
    ({"device": ["cpu"]}, "`device` must be a name"),
    ({"device": ""}, "There is no device"),
    ({"device": "meta"}, r"There is no device 'meta' here.*finds: cpu"),
    ({"device": "cuda:999"}, "There is no device 'cuda:999'"),
    ({"device": "cpu:256"}, "There is no device 'cpu:256'"),  # torch makes it cpu:0
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_arguments_are_checked_before_anything_is_read(arguments, message, tmp_path):
    with pytest.raises(InputError, match=message) as raised:
        M3Model.load(tmp_path, **arguments)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_arguments_of_a_model_of_a_checkpoint(arguments, message, tiny_folder):
    with pytest.raises(InputError, match=message):
        M3Model(checkpoint.read(tiny_folder), **arguments)


@pytest.mark.parametrize("arguments", [{"max_length": 128.0}, {"max_length": [1]}, {"revision": 1}])
def test_arguments_of_the_shared_model(arguments):
    shared_model("tiny", dtype="float32", max_length=128)  # equal to 128.0
    with pytest.raises(InputError):
        shared_model("tiny", dtype="float32", **arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_cuda_names_the_devices():
    with pytest.raises(InputError, match=r"There is no device 'cuda' here.*finds: cpu\."):
        M3Model.load("tiny", device="cuda")


@pytest.mark.parametrize("name", [None, 5, b"tiny", "", [], {"tiny"}, True])
def test_a_name_that_is_none(name):
    for load in (M3Model.load, shared_model, locate):
        with pytest.raises(InputError, match="The model must be a hub id, a folder or"):
            load(name)


@pytest.mark.parametrize(
    "name", ["a" * 5000, "a/" + "b" * 5000, "x\0y", "~nobody-here/a", "a/\ud800"]
)
def test_a_name_that_cannot_be_a_path(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError) as raised:
        locate(name)
    assert len(str(raised.value)) < 1500


@pytest.mark.filterwarnings("ignore:1 of 1 texts was cut")
def test_numpy_integers_are_integers():
    with M3Model.load(
        "tiny", dtype="float32", max_length=np.int64(16), memo_bytes=np.int32(0)
    ) as m:
        assert m.max_length == 16
        assert m.encode(["soil"], max_length=np.int16(3), colbert=False).n_tokens.tolist() == [3]


@pytest.mark.parametrize("texts", [5, None, 1.5])
def test_texts_that_are_no_list(tiny, texts):
    with pytest.raises(InputError, match="`texts` must be a list of strings, got"):
        tiny.encode(texts)


@pytest.mark.parametrize("documents", [5, "ab", ["a" * 10**6], []])
def test_documents_that_are_no_list(tiny, documents):
    with pytest.raises(InputError, match="for each of the 2 texts, got") as raised:
        tiny.encode(["a", "b"], documents=documents)
    assert len(str(raised.value)) < 500


def test_several_truncated_texts_were_cut(tiny):
    with pytest.warns(match=r"^2 of 2 texts were cut to 8 tokens"):
        tiny.encode(["soil moisture " * 9, "soil moisture " * 20], max_length=8)


def test_a_download_without_space_names_the_disk(monkeypatch):
    # The real part, a full disk during a download from the hub, is not available here.
    def download(*_args, **_kwargs):
        try:
            raise OSError(28, "No space left on device", "/cache/blobs/1")
        except OSError as error:
            raise RuntimeError("download failed") from error

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(CheckpointError, match=r"^/cache/blobs/1 cannot be written: No space left"):
        locate(Path("a/b").as_posix())
