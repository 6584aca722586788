"""A store of every kind, and an index of every kind."""

import numpy as np
import pytest

from m3rag import M3Index, Passage
from tests.index.oracle import Oracle
from tests.index.stores import FACTORIES, make, named

PASSAGES = [
    Passage("fern", "Ferns like shade and moist soil.", {"lang": "en", "year": 2019}, "plants.md"),
    Passage(
        "helecho", "Los helechos prefieren la sombra.", {"lang": "es", "year": 2021}, "plantas.md"
    ),
    Passage(
        "cactus",
        "A cactus needs sun and very little water.",
        {"lang": "en", "year": 2021},
        "plants.md",
    ),
    Passage("植物", "植物需要水和阳光。", {"lang": "zh", "tags": ["水", "sun"]}),
    Passage(
        "m3", "BGE M3 embeds text in more than a hundred languages.", {"lang": "en", "score": 0.5}
    ),
]


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


@pytest.fixture(params=["memory", "folder"])
def place(request, tmp_path):
    """Where an index may live."""
    return None if request.param == "memory" else tmp_path / "kb"


@pytest.fixture(scope="session", params=["memory", "folder"])
def index(request, tmp_path_factory, tiny):
    """An index with a handful of passages in three languages, to read from only."""
    folder = None if request.param == "memory" else tmp_path_factory.mktemp("shared") / "kb"
    with M3Index.open(folder, model=tiny) as index:
        index.add(PASSAGES)
        yield index
        assert len(index) == len(PASSAGES)


@pytest.fixture
def own(place, tiny):
    """The same, to change."""
    with M3Index.open(place, model=tiny) as index:
        index.add(PASSAGES)
        yield index
