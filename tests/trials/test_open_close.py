"""Opening and closing again and again leaves nothing behind."""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from m3rag import M3Index
from m3rag.errors import FormatError, InUseError, StorageError
from tests.trials.children import children_of
from tests.trials.indexes import passages
from tests.trials.record import record

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

_WARM = 8  # cycles before the first measurement
_GROWTH = 24 << 20  # bytes of memory that the allocator may keep


@pytest.fixture
def index(tiny, memory_path, monkeypatch):
    """The folder of an index; temporary files go into a folder of their own."""
    temporary = memory_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    folder = memory_path / "kb"
    with M3Index.open(folder, model=tiny) as made:
        made.add(passages("open", range(30)))
    return folder


def state(folder):
    """Return what a process holds: numbers that must not grow, and the bytes of its memory."""
    gc.collect()
    held = {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "Python threads": threading.active_count(),
        "processes": len(children_of(os.getpid())),
        "temporary files": len(list((folder.parent / "temporary").iterdir())),
        "files of the index": sum(1 for _ in folder.rglob("*")),
        "mappings of deleted files": Path("/proc/self/maps").read_text().count("(deleted)"),
    }
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return held, pages * os.sysconf("SC_PAGE_SIZE")


def cycles(name, n, folder, cycle):
    warm = min(_WARM, n)
    for k in range(warm):
        cycle(k)
    before, memory = state(folder)
    for k in range(n):
        cycle(warm + k)
    after, memory_after = state(folder)
    grown = [what for what in before if after[what] > before[what]]
    grown += ["memory"] * (memory_after - memory > _GROWTH)
    note = f"memory {(memory_after - memory) / 2**20:+.1f} MB"
    if grown:
        note += f", grown: {grown}, {before} to {after}"
    record(name, tried=n, wrong=len(grown), note=note)


def ordinary(index, tiny):
    def cycle(k):
        with M3Index.open(index, model=tiny) as opened:
            assert opened.search("fern", 3)
            if k % 3 == 0:
                opened.add(passages("again", range(k % 5, k % 5 + 2)))
            assert opened.count() == 30

    return cycle


def unclean(index, tiny):
    """Kill the engine, open twice, open what cannot be opened, forget to close."""

    def cycle(k):
        opened = M3Index.open(index, model=tiny)
        process = opened.stored.store.process
        if k % 4 == 0 and process is not None and process.pid:
            os.kill(process.pid, signal.SIGKILL)
        if k % 4 == 1:
            with pytest.raises(InUseError):
                M3Index.open(index, model=tiny)
        assert opened.search("fern", 3)
        if k % 4 != 2:
            opened.close()
        del opened
        gc.collect()
        if k % 4 == 3:
            manifest = index / "m3rag.json"
            content = manifest.read_bytes()
            manifest.write_bytes(content[:-20])
            with pytest.raises((FormatError, StorageError)):
                M3Index.open(index, model=tiny)
            manifest.write_bytes(content)
            database = index / "passages.db"
            content = database.read_bytes()
            database.write_bytes(content[: len(content) // 2])
            with pytest.raises((FormatError, StorageError)):
                M3Index.open(index, model=tiny)
            database.write_bytes(content)

    return cycle


def test_cycles(index, tiny):
    cycles("open, search, close, quick", 3, index, ordinary(index, tiny))


def test_unclean_cycles(index, tiny):
    cycles("open, trouble, close, quick", 2, index, unclean(index, tiny))


@pytest.mark.trial
@pytest.mark.timeout(1200)
def test_many_cycles(index, tiny):
    cycles("open, search, close", 300, index, ordinary(index, tiny))


@pytest.mark.trial
@pytest.mark.timeout(1200)
def test_many_unclean_cycles(index, tiny):
    cycles("open, trouble, close", 100, index, unclean(index, tiny))
