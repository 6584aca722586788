"""Documents in three languages, an index of them, and retrievers from langchain-classic."""

import pytest
from langchain_classic.retrievers import (  # noqa: TID251  # users combine them with ours
    ContextualCompressionRetriever,
    MultiVectorRetriever,
)
from langchain_core.documents import Document

from m3rag import M3Index
from m3rag.langchain import M3EnsembleRetriever

__all__ = ["ContextualCompressionRetriever", "MultiVectorRetriever"]

DOCUMENTS = [
    Document("Ferns like shade and moist soil.", id="fern", metadata={"lang": "en", "year": 2019}),
    Document("Los helechos prefieren la sombra.", id="helecho", metadata={"lang": "es"}),
    Document("A cactus needs sun and very little water.", id="cactus", metadata={"lang": "en"}),
    Document("植物需要水和阳光。", id="植物", metadata={"lang": "zh"}),
    Document(
        "The pump waters the plants at night.",
        id="pump",
        metadata={"lang": "en", "nested": {"a": [1, {"b": None}], "c": 0.5, "d": True}},
    ),
]
QUERY = "Where does a fern like to grow?"


@pytest.fixture
def documents():
    return [document.model_copy(deep=True) for document in DOCUMENTS]


@pytest.fixture(scope="session")
def shared_index(tiny):
    """An index that tests only read."""
    retriever = M3EnsembleRetriever.from_documents(DOCUMENTS, model=tiny)
    with retriever.index as index:
        yield index


@pytest.fixture
def ensemble(shared_index):
    return M3EnsembleRetriever(index=shared_index, k=3)


@pytest.fixture
def empty(tiny):
    with M3Index.open(model=tiny) as index:
        yield index


def ids(documents):
    return [document.id for document in documents]
