"""Many threads, event loops that keep running, and kill -9 of a whole program."""

import asyncio
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from m3rag import M3Index, Passage
from m3rag.index import QueryPlan
from m3rag.stores.edge import parts
from m3rag.stores.edge.store import EdgeStore
from tests.conftest import hear_ctrl_c
from tests.index.conftest import PASSAGES
from tests.stores.conftest import rng
from tests.stores.stores import COLBERT_DIM, DIM, make, named, unit

__all__ = ["rng"]


@pytest.fixture
def folder_index(tmp_path, tiny):
    with M3Index.open(tmp_path / "kb", model=tiny) as index:
        index.add(PASSAGES)
        yield index


@pytest.mark.parametrize(
    "use",
    [
        lambda index: index.asearch("Where do ferns grow?"),
        lambda index: index.asearch_many(["ferns", "plantas"]),
        lambda index: index.aadd(["a new passage"]),
        lambda index: index.adelete(["fern"]),
        lambda index: asyncio.to_thread(index.optimize),
    ],
    ids=["search", "search_many", "add", "delete", "optimize"],
)
async def test_the_event_loop_runs_while_the_engine_is_busy(folder_index, use):
    """The engine is stopped while the loop runs; a call that blocks the loop needs `rescue`."""
    engine = folder_index._store.process.pid
    os.kill(engine, signal.SIGSTOP)
    rescue = threading.Timer(30.0, os.kill, (engine, signal.SIGCONT))
    rescue.start()
    task = asyncio.create_task(use(folder_index))
    for _ in range(50):
        await asyncio.sleep(0.01)
    assert not task.done()
    assert rescue.is_alive(), "the event loop was blocked"
    rescue.cancel()
    os.kill(engine, signal.SIGCONT)
    await task


def test_a_passage_that_is_replaced_all_the_time_is_always_found(folder_index):
    stop = threading.Event()

    def replace():
        while not stop.is_set():
            folder_index.add([Passage("moss", "Moss grows on stones.")])

    folder_index.add([Passage("moss", "Moss grows on stones.")])
    thread = threading.Thread(target=replace)
    thread.start()
    try:
        found = [folder_index.search("Moss grows on stones.", k=1) for _ in range(40)]
    finally:
        stop.set()
        thread.join()
    assert {hit.passage.id for hits in found for hit in hits} == {"moss"}
    assert all(found)


def test_threads_search_while_others_add_and_delete(own):
    stop, errors, searches = threading.Event(), [], []

    def search():
        while not stop.is_set():
            try:
                hits = own.search("number of ferns", k=5, channels=["dense", "sparse", "bm25"])
                assert len(hits) == 5
                assert hits == sorted(hits, key=lambda h: -h.score)
                searches.append(len(hits))
            except Exception as error:
                errors.append(error)
                return

    def change(prefix):
        try:
            for i in range(6):
                own.add([Passage(f"{prefix}{i}-{j}", f"number {j} of {prefix}") for j in range(8)])
                assert own.delete([f"{prefix}{i}-{j}" for j in range(4)]) == 4
        except Exception as error:
            errors.append(error)

    searching = [threading.Thread(target=search) for _ in range(4)]
    changing = [threading.Thread(target=change, args=(prefix,)) for prefix in "ab"]
    for thread in searching + changing:
        thread.start()
    for thread in changing:
        thread.join()
    stop.set()
    for thread in searching:
        thread.join()
    assert errors == []
    assert searches
    assert len(own) == len(PASSAGES) + 2 * 6 * 4


def test_searches_run_between_the_chunks_of_a_long_add(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(parts, "_MESSAGE_BYTES", 20_000)
    store = EdgeStore(tmp_path, dim=DIM, colbert_dim=COLBERT_DIM)
    points = make(rng, named(2000))
    plan = QueryPlan(("dense",), ("dense",), 10, dense=unit(rng, DIM))
    counts: list[int] = []

    def search():
        while len(counts) < 5 or counts[-1] < 2000:
            store.search([plan])
            counts.append(store.count())

    searching = threading.Thread(target=search)
    searching.start()
    store.add(points)
    searching.join()
    store.close()
    assert len({n for n in counts if 0 < n < 2000}) >= 5


ADD = """
import sys
from m3rag import M3Index, M3Model, Passage
index = M3Index.open(sys.argv[1], model=M3Model.load("tiny", dtype="float32"))
texts = [f"Passage number {i} is about the topic {i % 7}." for i in range(1000)]
passages = [Passage(f"p{i}", text) for i, text in enumerate(texts)]
def progress(stage, done, total):
    print(done, flush=True)
try:
    index.add(passages, batch=16, progress=progress)
except KeyboardInterrupt:
    print("interrupted", len(index), flush=True)
    index.close()
"""


def start_adding(folder, *, until):
    """Start a program that adds 1,000 passages; return once `until` are acknowledged."""
    program = subprocess.Popen(
        [sys.executable, "-c", ADD, folder],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    )
    done = 0
    while done < until:
        done = int(program.stdout.readline())
    return program, done


@pytest.mark.slow
def test_kill_9_during_add_loses_nothing_acknowledged(tmp_path, tiny):
    program, done = start_adding(tmp_path, until=300)
    program.kill()
    done = max([done, *(int(line) for line in program.stdout.read().split())])
    program.wait()
    program.stdout.close()
    assert 300 <= done < 1000
    with M3Index.open(tmp_path, model=tiny) as index:
        there = {p.id for p in index.passages()}
        assert {f"p{i}" for i in range(done)} <= there
        assert len(index) == len(there) < 1000
        for i in (0, done // 2, done - 1):
            text = f"Passage number {i} is about the topic {i % 7}."
            hits = index.search(text, k=3, weights=(1, 0, 1), candidates=200)
            assert f"p{i}" in {hit.passage.id for hit in hits}
        rest = [
            Passage(f"p{i}", f"Passage number {i} is about something.") for i in range(done, 1000)
        ]
        index.add(rest)
        assert len(index) == 1000


@pytest.mark.slow
def test_ctrl_c_during_add_keeps_what_was_acknowledged(tmp_path, tiny):
    program, _ = start_adding(tmp_path, until=100)
    program.send_signal(signal.SIGINT)
    lines = program.stdout.read().split()
    assert program.wait() == 0
    program.stdout.close()
    assert "interrupted" in lines
    kept = int(lines[-1])
    done = max([100, *(int(line) for line in lines[:-2])])
    assert done <= kept < 1000
    with M3Index.open(tmp_path, model=tiny) as index:
        assert {f"p{i}" for i in range(done)} <= {p.id for p in index.passages()}
        assert len(index) == kept
        assert np.isfinite([hit.score for hit in index.search("topic 3")]).all()
