"""Checks that a store finds what a filter says, in every way in which it can look."""

import numpy as np

from m3rag.index import QueryPlan
from m3rag.stores.edge.store import EdgeStore
from m3rag.stores.filters import parse_filter
from tests.stores.stores import DIM, make, unit


def check_store(store, rng, passages, cases):
    """Add passages; scan, count and search must agree with each case (a filter and the ids)."""
    store.add(make(rng, passages))
    for spec, ids in cases:
        expected = set(ids.split())
        where = parse_filter(spec)
        assert {p.id for p in store.scan(where, None, 100)[0]} == expected, spec
        assert store.count(where) == len(expected), spec
        assert searched(store, rng, where) == expected, spec


def searched(store, rng, where):
    """Return the ids of all passages that a dense search with a filter finds."""
    plan = QueryPlan(("dense",), ("dense",), 1_000, where, dense=unit(rng, DIM))
    if isinstance(store, EdgeStore) and store.process is not None:
        # Without this, an engine that refuses a filter is replaced by the exact search.
        arrays: list[np.ndarray] = []
        request = store._searcher._request(plan, ["dense"], [], arrays)
        assert store._engine.search([request], arrays) is not None, where
    [found] = store.search([plan])
    assert np.isfinite(found.scores["dense"]).all()
    return set(found.ids)
