"""Passages in three languages, and an index in memory and in a folder."""

import pytest

from m3rag import M3Index, Passage

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


@pytest.fixture(params=["memory", "folder"])
def place(request, tmp_path):
    """The path of an index: None for an index in memory, or a folder."""
    return None if request.param == "memory" else tmp_path / "kb"


@pytest.fixture(scope="session", params=["memory", "folder"])
def index(request, tmp_path_factory, tiny):
    """An index that tests only read."""
    folder = None if request.param == "memory" else tmp_path_factory.mktemp("shared") / "kb"
    with M3Index.open(folder, model=tiny) as index:
        index.add(PASSAGES)
        yield index
        assert len(index) == len(PASSAGES)


@pytest.fixture
def own(place, tiny):
    """An index of the same passages that a test may change."""
    with M3Index.open(place, model=tiny) as index:
        index.add(PASSAGES)
        yield index
