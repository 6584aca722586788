"""Shared fixtures: the bundled model, and texts in many scripts."""

import asyncio
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from m3rag import M3CrossEncoder, M3Model, shared_cross_encoder
from m3rag.cli import main
from m3rag.model import checkpoint as checkpoints
from m3rag.model.cross_checkpoint import with_new_head
from m3rag.model.lookup import BUNDLED

TEXTS = [
    "What is BGE M3?",
    "BGE M3 is an embedding model supporting dense retrieval, lexical matching and multi-vectors.",
    "¿Cómo se riega una planta automáticamente?",
    "植物需要多少水?土壤湿度传感器可以测量。",
    "土壌の水分を測定するセンサーを使います。",
    "كيف أقيس رطوبة التربة؟",
    "मिट्टी की नमी कैसे मापें?",
    "ปลูกต้นไม้ต้องรดน้ำบ่อยแค่ไหน",
    "Emoji 🌱👩🏽‍🌾🇪🇸 and signs ½ ﬁ ﷺ ™",
    "</s> <s> <pad> <unk> <mask> typed by hand <pad> <mask>",
    "again again again AGAIN again again",
    "",
    " ",
    "x",
    "🌱",
    "\u0627\u0301 e\u0301 combining \n\n and\ttabs",
    "soil moisture " * 120,
    "The farmer waters the plants in the morning. " * 40,
]


SLOW_FILES = "tests/trials/"


def pytest_configure(config):
    """Let xdist hand out the files in our order, not those with the most tests first."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """Begin with the trials, whose tests take longest: else one of them runs alone at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(SLOW_FILES))


def hear_ctrl_c() -> None:
    """Reset Ctrl-C in a child process: children of a background process inherit ignoring it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def needing_the_loop(call):
    """Wrap `call` so that it waits for the event loop first and fails if the loop is blocked."""
    loop = asyncio.get_running_loop()

    def gated(*args, **kwargs):
        ran = threading.Event()
        loop.call_soon_threadsafe(ran.set)
        if not ran.wait(30):
            raise TimeoutError("The event loop is blocked.")
        return call(*args, **kwargs)

    return gated


def passes_need_the_loop(model, monkeypatch):
    """Apply `needing_the_loop` to the forward passes of a model."""
    worker = model._worker
    monkeypatch.setattr(worker, "_network", needing_the_loop(worker._network))


@pytest.fixture(scope="session")
def tiny() -> M3Model:
    """The bundled model in float32, with the same numbers on every machine."""
    return M3Model.load("tiny", dtype="float32")


@pytest.fixture(scope="session")
def tiny_folder() -> Path:
    return BUNDLED["tiny"]


@pytest.fixture(scope="session")
def cross_folder(tmp_path_factory) -> Path:
    """A cross-encoder with the bundled encoder and a random head, in the layout of transformers."""
    new = with_new_head(checkpoints.read(BUNDLED["tiny"]), seed=0)
    # A larger head, so that scores differ by some units.
    heads = {n: {k: 4 * t for k, t in parts.items()} for n, parts in new.heads.items()}
    to: Path = tmp_path_factory.mktemp("cross-encoder") / "reranker"
    checkpoints.write(replace(new, heads=heads), to)
    return to


@pytest.fixture(scope="session")
def cross_encoder(cross_folder) -> M3CrossEncoder:
    """The cross-encoder in float32; closed with the process, as what pickles name must be."""
    return shared_cross_encoder(cross_folder, dtype="float32")


@pytest.fixture
def fresh() -> Iterator[M3Model]:
    """A new model for one test, with no passes yet and an empty memo."""
    with M3Model.load("tiny", dtype="float32") as model:
        yield model


@pytest.fixture
def m3rag(monkeypatch, capsys):
    """Run `m3rag …` in this process and return (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["m3rag", *map(str, arguments)])
        code: str | int = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return run
