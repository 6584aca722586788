"""The description from which other processes load a model."""

import subprocess
import sys
from multiprocessing.reduction import ForkingPickler

import pytest

from m3rag import M3Model
from m3rag.errors import InputError, ModelMismatchError
from m3rag.model import ModelSpec, checkpoint
from m3rag.model.shared import model_of


def test_a_spec_describes_its_model(tiny):
    assert tiny.spec == ModelSpec(
        name="tiny",
        device="cpu",
        dtype="float32",
        max_length=None,
        fingerprint=tiny.fingerprint,
    )


def test_another_process_loads_an_equal_model(tiny):
    code = (
        "import pickle, sys; from m3rag.model.shared import model_of;"
        "model = model_of(pickle.loads(sys.stdin.buffer.read()));"
        "print(model.fingerprint, model.dtype, model.max_length)"
    )
    pickled = bytes(ForkingPickler.dumps(tiny.spec))  # as multiprocessing sends it
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickled, capture_output=True, check=True
    )
    assert done.stdout.decode().split() == [tiny.fingerprint, "float32", "8192"]


def test_equal_specs_give_the_same_shared_model():
    spec = ModelSpec("tiny", dtype="float32", max_length=128)
    assert model_of(spec) is model_of(spec)
    assert model_of(spec).max_length == 128


def test_other_weights_with_the_same_name_are_an_error():
    with pytest.raises(ModelMismatchError, match=r"'tiny' has the fingerprint \w+ here, and 0123"):
        model_of(ModelSpec("tiny", dtype="float32", fingerprint="0123"))


def test_importing_the_spec_does_not_import_torch():
    code = "import m3rag.model, sys; m3rag.model.ModelSpec('tiny'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_auto_and_what_it_stands_for_are_one_shared_model():
    model = model_of(ModelSpec("tiny", dtype="float32"))
    assert model_of(model.spec) is model
    assert model_of(ModelSpec("tiny", device="cpu", dtype="float32")) is model


def test_a_model_without_a_name_has_no_spec(tiny_folder):
    model = M3Model(checkpoint.read(tiny_folder))
    with model, pytest.raises(InputError, match="no name to load it by"):
        _ = model.spec


def test_components_keep_the_revision():
    from m3rag.llama_index import M3Embedding

    with M3Model.load("tiny", revision="v1", dtype="float32") as model:
        assert M3Embedding(model=model).spec.revision == "v1"
