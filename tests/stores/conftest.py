"""A store of every kind."""

import numpy as np
import pytest

from tests.stores.oracle import Oracle
from tests.stores.stores import FACTORIES, make, named


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture(params=FACTORIES)
def make_store(request, tmp_path):
    """Opens stores of one kind and closes them again."""
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
    """A store with 120 points, and the oracle that knows them."""
    oracle, points = Oracle(), make(rng, named(120))
    store.add(points)
    oracle.add(points)
    return store, oracle
