"""A fixture for every kind of store."""

import numpy as np
import pytest

from tests.stores.oracle import Oracle
from tests.stores.stores import FACTORIES, make, named


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture(params=FACTORIES)
def make_store(request, tmp_path):
    """Return a function that opens stores of one kind; they are closed after the test."""
    opened = []

    def factory(name="kb"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        opened.append(FACTORIES[request.param](folder))
        return opened[-1]

    yield factory
    for store in opened:
        store.close()


@pytest.fixture
def store(make_store):
    return make_store()


@pytest.fixture
def filled(store, rng):
    """A store with 120 points, and an oracle with the same points."""
    oracle, points = Oracle(), make(rng, named(120))
    store.add(points)
    oracle.add(points)
    return store, oracle
