"""A fixture for every kind of store."""

import numpy as np
import pytest

from m3rag.http.client import Server
from m3rag.stores.remote.store import RemoteStore
from tests.serve.conftest import serving
from tests.stores.oracle import Oracle
from tests.stores.stores import FACTORIES, in_an_index, make, named

REMOTE = pytest.param("remote", marks=pytest.mark.enable_socket)


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture(scope="session")
def remote():
    """A function that opens stores of a live server, each with an empty one behind it."""
    with serving({}) as served:
        indexes = served.app.state.backend.bases._indexes

        def factory(_):
            name = f"kb{len(indexes)}"
            indexes[name] = in_an_index(FACTORIES["memory"](None))
            return RemoteStore(Server(f"{served.url}/{name}"))

        yield factory


@pytest.fixture(params=[*FACTORIES, REMOTE])
def make_store(request, tmp_path):
    """Return a function that opens stores of one kind; they are closed after the test."""
    opened = []
    kind = FACTORIES.get(request.param) or request.getfixturevalue(request.param)

    def factory(name="kb"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        opened.append(kind(folder))
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
