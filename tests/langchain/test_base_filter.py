"""A base filter holds for every call; a call's filter can only narrow it."""

import pytest
from langchain_core.documents import Document

from m3rag import M3Index
from m3rag.errors import ArgumentError
from m3rag.langchain import M3EnsembleRetriever, M3SparseRetriever, M3VectorStore
from tests.langchain.conftest import ids

QUERY = "a fern in the shade"


@pytest.fixture(params=["memory", "folder"])
def index(request, tiny, tmp_path):
    path = None if request.param == "memory" else tmp_path / "kb"
    with M3Index.open(path, model=tiny) as index:
        M3VectorStore(index).add_documents(
            [
                Document(
                    f"A fern in the shade, number {n}.",
                    id=f"{tenant}{n}",
                    metadata={"tenant": tenant, "n": n},
                )
                for tenant in "ab"
                for n in range(3)
            ]
        )
        yield index


FILTERS = [{"tenant": "b"}, {"n": [0, 1, 2]}, {"$or": [{"n": 1}, {"tenant": "b"}]}, {}, None]


@pytest.mark.parametrize("base", [{"tenant": "a"}, lambda d: d.metadata["tenant"] == "a"])
@pytest.mark.parametrize("kind", [M3EnsembleRetriever, M3SparseRetriever])
async def test_a_filter_of_a_call_narrows(index, kind, base):
    retriever = kind(index, base_filter=base, k=6)
    for where in [*FILTERS, lambda document: True]:
        found = [
            retriever.invoke(QUERY, filter=where),
            await retriever.ainvoke(QUERY, filter=where),
            retriever.batch([QUERY], filter=where)[0],
            (await retriever.abatch([QUERY], filter=where))[0],
        ]
        assert all(name.startswith("a") for documents in found for name in ids(documents))
    assert set(ids(retriever.invoke(QUERY))) == {"a0", "a1", "a2"}
    assert ids(retriever.invoke(QUERY, filter={"n": 1})) == ["a1"]
    assert retriever.invoke(QUERY, filter={"tenant": "b"}) == []
    with pytest.raises(ArgumentError, match="base_filter"):
        retriever.invoke(QUERY, base_filter=None)


def test_a_filter_of_a_call_replaces_that_of_the_retriever(index):
    retriever = M3EnsembleRetriever(index, filter={"n": 0}, base_filter={"tenant": "a"})
    assert ids(retriever.invoke(QUERY)) == ["a0"]
    assert ids(retriever.invoke(QUERY, filter={"n": 1})) == ["a1"]


@pytest.mark.parametrize("base", [{"tenant": "a"}, lambda d: d.metadata["tenant"] == "a"])
def test_a_store_of_a_tenant(index, base):
    store = M3VectorStore(index, base_filter=base)
    vector = store.embeddings.embed_query(QUERY)
    retriever = store.as_retriever(search_kwargs={"filter": {"n": 0}})
    for found in (
        store.similarity_search(QUERY, 9, {"tenant": "b"}),
        store.similarity_search_by_vector(vector, 9, {"tenant": "b"}),
        store.max_marginal_relevance_search(QUERY, 9, 9, 0.5, {"tenant": "b"}),
        retriever.invoke(QUERY, filter={"tenant": "b"}),
        store.documents({"tenant": "b"}),
        store.get_by_ids(["b1"]),
    ):
        assert found == []
    assert ids(store.get_by_ids(["b1", "a2", "x", "a0"])) == ["a2", "a0"]
    assert store.count() == store.count({"n": [0, 1, 2]}) == 3
    assert ids(retriever.invoke(QUERY)) == ["a0"]


@pytest.mark.parametrize("base", [{"tenant": "a"}, lambda d: d.metadata["tenant"] == "a"])
def test_a_store_of_a_tenant_deletes_nothing_of_others(index, base):
    store = M3VectorStore(index, base_filter=base)
    store.delete(["b0", "a0"])
    store.delete(filter={"n": 1})
    assert sorted(ids(M3VectorStore(index).documents())) == ["a2", "b0", "b1", "b2"]
    store.delete(delete_all=True)
    assert sorted(ids(M3VectorStore(index).documents())) == ["b0", "b1", "b2"]
