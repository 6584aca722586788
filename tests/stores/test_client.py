"""The engine process: its messages, its imports, its end, and that no acknowledged data is lost."""

import contextlib
import io
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from m3rag.documents import Passage
from m3rag.errors import StorageError
from m3rag.index import QueryPlan
from m3rag.stores.edge import store as edge
from m3rag.stores.edge.store import EdgeStore
from m3rag.stores.edge.wire import receive, send
from tests.stores.stores import COLBERT_DIM, DIM, make, named


@pytest.fixture
def store(tmp_path):
    store = EdgeStore(tmp_path, dim=DIM, colbert_dim=COLBERT_DIM)
    yield store
    store.close()


@pytest.fixture
def pipe():
    source, sink = os.pipe()
    with io.FileIO(source, "rb") as reader, io.FileIO(sink, "wb") as writer:
        yield reader, writer


def all_ids(store):
    return {p.id for p in store.scan(None, None, 10_000)[0]}


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone(pid, *, within):
    deadline = time.monotonic() + within
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


def test_messages_arrive_as_they_were_sent(pipe):
    reader, writer = pipe
    arrays: list[NDArray[Any]] = [
        np.arange(6, dtype=np.int64).reshape(2, 3),
        np.zeros((0, 5), np.float32),
        np.array([], np.float32),
        np.arange(12, dtype=np.float16).reshape(3, 4)[:, ::2],
        np.array(7, np.int32),
    ]
    send(writer, {"text": "ü漢🌱", "n": [1, None, 2.5]}, arrays)
    body, found = receive(reader)
    assert body == {"text": "ü漢🌱", "n": [1, None, 2.5]}
    for before, after in zip(arrays, found, strict=True):
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(np.atleast_1d(before), np.atleast_1d(after))


def test_messages_larger_than_the_pipe(pipe):
    reader, writer = pipe
    big = np.random.default_rng(0).random(3_000_000)
    sender = threading.Thread(target=send, args=(writer, {}, [big]))
    sender.start()
    np.testing.assert_array_equal(receive(reader)[1][0], big)
    sender.join()


def test_a_message_that_stops_half_way(pipe):
    reader, writer = pipe
    writer.write((100).to_bytes(8, "little") + b'{"body"')
    writer.close()
    with pytest.raises(EOFError):
        receive(reader)


def test_the_process_needs_no_model():
    code = (
        "import m3rag.stores.edge.server, sys; print({'torch', 'transformers'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "set()\n"


def searchable(store):
    """Return the ids that an exhaustive dense search finds."""
    query = np.zeros(DIM, np.float32)
    [found] = store.search([QueryPlan(("dense",), ("dense",), 10_000, dense=query)])
    return set(found.ids)


def test_a_killed_engine_loses_nothing(store, rng):
    store.add(make(rng, named(50)))
    killed = store.process.pid
    os.kill(killed, signal.SIGKILL)
    assert all_ids(store) == searchable(store) == set(named(50))
    assert store.process.pid != killed
    store.add(make(rng, named(10, "q")))
    assert store.count() == len(searchable(store)) == 60


def test_an_engine_killed_amid_an_add_is_not_noticed(store, rng):
    batches = [make(rng, named(20, f"b{b}-")) for b in range(50)]
    engine = store.process.pid
    killer = threading.Timer(0.02, os.kill, (engine, signal.SIGKILL))
    killer.start()
    for points in batches:
        store.add(points)
    killer.join()
    assert gone(engine, within=5)
    assert store.count() == len(searchable(store)) == 1000
    assert store.process.pid != engine


def test_an_engine_that_dies_again_and_again_is_replaced_by_exact_search(store, rng, monkeypatch):
    store.add(make(rng, named(20)))
    os.kill(store.process.pid, signal.SIGKILL)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert searchable(store) == set(named(20))
    assert store.process is None
    store.add(make(rng, named(5, "q")))
    store.delete(["p0"])
    assert searchable(store) == (set(named(20)) | set(named(5, "q"))) - {"p0"}
    monkeypatch.undo()
    store.optimize()
    assert store.process is not None
    assert searchable(store) == (set(named(20)) | set(named(5, "q"))) - {"p0"}


def test_the_engine_ignores_ctrl_c(store, rng):
    store.add(make(rng, named(3)))
    pid = store.process.pid
    os.kill(pid, signal.SIGINT)
    assert store.count() == 3
    assert store.process.pid == pid


def test_an_interrupted_request_does_not_mix_up_the_next(store, rng):
    store.add(make(rng, named(3)))
    first = store.process.pid
    os.kill(first, signal.SIGSTOP)  # so that the interrupt falls between request and answer

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            searchable(store)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert searchable(store) == set(named(3))
    assert store.process.pid != first
    assert gone(first, within=5)


def test_closing_ends_the_process(store):
    pid = store.process.pid
    store.close()
    assert not alive(pid)
    with pytest.raises(StorageError, match="closed"):
        store.count()


def test_an_open_index_is_closed_at_the_end_of_the_program(tmp_path):
    code = f"""
import numpy as np
from pathlib import Path
from m3rag.stores.edge.store import EdgeStore
from tests.stores.stores import COLBERT_DIM, DIM, make, named
store = EdgeStore(Path({str(tmp_path)!r}), dim=DIM, colbert_dim=COLBERT_DIM)
store.add(make(np.random.default_rng(0), named(5)))
print(store.process.pid)
"""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert ran.stderr == ""
    assert not alive(int(ran.stdout))
    store = EdgeStore(tmp_path, dim=DIM, colbert_dim=COLBERT_DIM)
    assert store.count() == 5
    store.close()


FORK = r"""
import os, sys, time
from pathlib import Path
from m3rag.errors import StorageError
from m3rag.stores.edge.store import EdgeStore
store = EdgeStore(Path(sys.argv[1]), dim=8, colbert_dim=None)
child = os.fork()
if not child:
    try:
        store.count()
    except StorageError as error:
        os.write(1, f"{os.getpid()} {store.process.pid} {'fork' in str(error)}\n".encode())
    time.sleep(60)
    os._exit(0)
os.write(1, f"{store.count()}\n".encode())
time.sleep(60)
"""


def test_a_fork_is_refused_and_does_not_keep_the_engine_alive(tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-c", FORK, tmp_path], stdout=subprocess.PIPE, text=True
    )
    lines = sorted([parent.stdout.readline(), parent.stdout.readline()], key=len)
    assert lines[0] == "0\n"  # the parent is not disturbed
    fork, engine, refused = lines[1].split()
    assert refused == "True"
    parent.kill()
    parent.wait()
    parent.stdout.close()
    try:
        assert gone(int(engine), within=10)
    finally:
        os.kill(int(fork), signal.SIGKILL)


def test_a_nearly_full_disk_is_refused_before_anything_is_written(store, rng, monkeypatch):
    store.add(make(rng, named(5)))
    almost_full = SimpleNamespace(free=10 << 20)
    monkeypatch.setattr(edge.shutil, "disk_usage", lambda _: almost_full)
    with pytest.raises(StorageError, match=r"10 MB free, and \d+ MB are needed"):
        store.add(make(rng, named(5, "q")))
    assert all_ids(store) == searchable(store) == set(named(5))
    monkeypatch.undo()
    store.add(make(rng, named(5, "q")))
    assert store.count() == 10


def add_until_refused(store, rng, batches):
    """Add batches until an error; return the ids that were acknowledged, and the message."""
    acknowledged: set[str] = set()
    for passages in batches:
        try:
            store.add(make(rng, passages))
        except StorageError as error:
            return acknowledged, str(error)
        acknowledged |= {p.id for p in passages}
    raise AssertionError("every batch was added")


def test_an_engine_that_cannot_write_is_made_again(store, rng):
    """Limit the size of its files, as if the disk filled up despite the check."""
    store.add(make(rng, named(50)))
    limited = store.process.pid
    resource.prlimit(limited, resource.RLIMIT_FSIZE, (1_000, resource.RLIM_INFINITY))
    store.add(make(rng, named(100, "q")))
    store.optimize()
    assert searchable(store) == all_ids(store) == {*named(50), *named(100, "q")}
    assert store.process.pid != limited


@pytest.fixture
def small_disk(tmp_path):
    command = ["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", tmp_path]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_a_disk_that_is_really_full(small_disk, rng):
    batches = ([Passage(f"p{i}", chr(i + 65) * 1_000_000)] for i in range(200))
    with closing(EdgeStore(small_disk, dim=DIM, colbert_dim=COLBERT_DIM)) as store:
        acknowledged, message = add_until_refused(store, rng, batches)
        assert "MB free" in message
        assert acknowledged
        assert all_ids(store) == searchable(store) == acknowledged
    fill(small_disk / "filler")
    with closing(EdgeStore(small_disk, dim=DIM, colbert_dim=COLBERT_DIM)) as store:
        assert all_ids(store) == searchable(store) == acknowledged
        deleted = sorted(acknowledged)[:20]
        assert store.delete(deleted) == 20
        assert all_ids(store) == searchable(store) == acknowledged - set(deleted)
    (small_disk / "filler").unlink()
    with closing(EdgeStore(small_disk, dim=DIM, colbert_dim=COLBERT_DIM)) as store:
        store.optimize()
        assert all_ids(store) == searchable(store) == acknowledged - set(deleted)


def fill(path):
    """Take all space that is left."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 12))


def test_a_read_only_folder_can_be_searched(small_disk, rng):
    with closing(EdgeStore(small_disk, dim=DIM, colbert_dim=COLBERT_DIM)) as store:
        store.add(make(rng, named(30)))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for _ in range(2):  # also by two at a time: nothing is locked
        with (
            closing(EdgeStore(small_disk, dim=DIM, colbert_dim=COLBERT_DIM)) as store,
            closing(EdgeStore(small_disk, dim=DIM, colbert_dim=COLBERT_DIM)) as other,
        ):
            assert all_ids(store) == searchable(store) == searchable(other) == set(named(30))
            with pytest.raises(StorageError, match="read-only"):
                store.add(make(rng, named(3)))
            with pytest.raises(StorageError, match="read-only"):
                store.delete(["p1"])
            store.optimize()
