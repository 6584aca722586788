"""The model "small", as its package has it."""

import subprocess
import sys

import numpy as np
import pytest

from m3rag import M3Model
from m3rag.model import checkpoint as checkpoints
from m3rag.model import vocabulary
from m3rag.model.lookup import locate
from m3rag.model.storage import stored_positions
from m3rag.model.tokenizer import Tokenizer

pytest.importorskip("m3rag_small", reason="the model small is not installed")

MEMORY = """
import resource, sys
from m3rag.model import model

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))

before = resident()
loaded = model.M3Model.load("small", dtype="float32")
print((resident() - before) / 1024)
"""


@pytest.fixture(scope="module")
def small():
    with M3Model.load("small", dtype="float32") as model:
        yield model


def test_it_finds_an_answer_in_another_language(small):
    texts = [
        "La bomba riega las plantas cuando el suelo está seco.",
        "Un relais est un interrupteur électrique.",
        "光合成には光が必要です。",
        "Der Sensor misst die Temperatur der Luft.",
    ]
    questions = ["What waters the plants?", "Was ist ein Relais?", "What needs light?"]
    scores = small.encode(questions).dense @ small.encode(texts).dense.T
    assert scores.argmax(1).tolist() == [0, 1, 2]


def test_its_size_and_shape(small):
    folder = locate("small")
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 80_000_000
    assert {path.name for path in folder.iterdir()} >= {"README.md", "LICENSE"}
    assert (small.dim, small.colbert_dim, small.max_length) == (384, 384, 8192)
    assert small.vocab_size == 250_002
    positions = stored_positions(checkpoints.read(folder).config)
    assert (positions.stored, positions.period) == (514, 480)
    rows = positions.rows(np.arange(8194))
    # Position p >= 512, counted after the padding index, has the row of 32 + (p - 512) mod 480.
    expected = [p if p < 512 else 32 + (p - 512) % 480 for p in range(8192)]
    assert (rows[2:] - 2).tolist() == expected


def test_its_tokenizer_passes_the_checks_that_loading_skips(monkeypatch):
    path = locate("small") / "tokenizer.json.gz"
    data = vocabulary.read_tokenizer(path, 250_002)
    monkeypatch.setattr(vocabulary, "_CHECKED", frozenset())
    monkeypatch.setattr(vocabulary, "parse_json", counting := Counting(vocabulary.parse_json))
    assert vocabulary.read_tokenizer(path, 250_002) == data
    assert counting.calls == 1
    assert Tokenizer(path.with_suffix("")).vocab_size == 250_002


class Counting:
    """A function that counts its calls."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return self.function(*args, **kwargs)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_its_words_take_no_memory_of_their_own():
    """The tokenizer takes 290 MB and the layers 85 MB; the words would take 384 MB in float32."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 520
