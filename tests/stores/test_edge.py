"""Features of the store in a folder only: quantized large indexes, messages, sizes."""

import os
import signal
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from m3rag.documents import Passage
from m3rag.errors import StorageError
from m3rag.index import QueryPlan
from m3rag.model import MultiVectors
from m3rag.stores.edge import parts as parts_of
from m3rag.stores.edge import store as edge
from m3rag.stores.edge.store import EdgeStore
from m3rag.stores.memory import MemoryStore
from tests.stores.stores import COLBERT_DIM, DIM, make, named, unit


def test_a_large_index_is_quantized_and_scores_stay_exact(tmp_path, rng):
    store = EdgeStore(tmp_path, dim=DIM, colbert_dim=COLBERT_DIM, quantize_from=1500)
    oracle = MemoryStore()
    for prefix in "ab":
        points = make(rng, named(1000, prefix))
        store.add(points)
        oracle.add(points)
        store.optimize()
        assert bool(list(tmp_path.rglob("quantized.data"))) == (prefix == "b")
    more = make(rng, named(50, "later"))
    store.add(more)
    oracle.add(more)
    agree = []
    for _ in range(10):
        plan = QueryPlan(("dense",), ("dense",), 20, dense=unit(rng, DIM))
        (found,), (expected,) = store.search([plan]), oracle.search([plan])
        exact = dict(zip(expected.ids, expected.scores["dense"].tolist(), strict=True))
        scores = dict(zip(found.ids, found.scores["dense"].tolist(), strict=True))
        both = exact.keys() & scores.keys()
        assert {i: scores[i] for i in both} == pytest.approx({i: exact[i] for i in both}, abs=1e-5)
        agree.append(len(both) / 20)
    assert np.mean(agree) > 0.97
    store.close()
    store = EdgeStore(tmp_path, dim=DIM, colbert_dim=COLBERT_DIM, quantize_from=1500)
    assert store.count() == 2050
    store.search([])  # starts the engine
    os.kill(store.process.pid, signal.SIGKILL)
    store.search([plan])
    assert list(tmp_path.rglob("quantized.data"))  # made again as it was
    store.close()


def test_the_engine_starts_when_it_is_needed(tmp_path, rng):
    def opened():
        return closing(EdgeStore(tmp_path, dim=DIM, colbert_dim=COLBERT_DIM))

    every = QueryPlan(("dense",), ("dense",), 99, dense=unit(rng, DIM))
    with opened() as store:
        store.add(make(rng, named(30)))
    made = {path.name for path in tmp_path.glob("engine-*")}
    with opened() as store:
        assert (store.count(), len(store.scan(None, None, 9)[0])) == (30, 9)
        store.remember("note", b"x")
        store.delete(["unknown"])
        assert store.process is None
    with opened() as store:
        assert store.delete(["p0"]) == 1  # the engine must follow
        assert store.process is not None
        assert {path.name for path in tmp_path.glob("engine-*")} == made  # it was not made again
    with opened() as store:
        [found] = store.search([every])
        assert {*found.ids} == {*named(30)} - {"p0"}


def test_points_are_split_into_messages_by_their_bytes(rng, monkeypatch):
    points = make(rng, [Passage(f"p{i}", "x" * 1000) for i in range(100)])
    assert len(parts_of.parts(points)) == 1
    monkeypatch.setattr(parts_of, "_MESSAGE_BYTES", 80_000)
    parts = parts_of.parts(points)
    assert len(parts) >= 5
    assert [p.id for part in parts for p in part.passages] == [p.id for p in points.passages]
    assert max(parts_of.size_of(part) for part in parts) < 160_000
    monkeypatch.setattr(parts_of, "_MESSAGE_BYTES", 1)
    assert len(parts_of.parts(points)) == 100


def test_a_full_disk_refuses_a_new_index(tmp_path, monkeypatch):
    monkeypatch.setattr(edge.shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))
    with pytest.raises(StorageError, match="1 MB free"):
        EdgeStore(tmp_path, dim=DIM, colbert_dim=None)


def test_colbert_takes_about_one_byte_per_dimension(tmp_path, rng):
    n, tokens = 200, 300
    points = make(rng, named(n))
    big = MultiVectors.from_rows([unit(rng, tokens, COLBERT_DIM) for _ in range(n)])
    points = replace(points, colbert=big)
    store = EdgeStore(tmp_path, dim=DIM, colbert_dim=COLBERT_DIM)
    store.add(points)
    store.close()
    used = (tmp_path / "passages.db").stat().st_size
    assert n * tokens * COLBERT_DIM < used < 1.4 * n * tokens * (COLBERT_DIM + 4)  # and a scale
