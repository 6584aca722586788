"""A base filter holds for every call; a call's filter can only narrow it."""

import pytest
from langchain_core.documents import Document

from m3rag import M3Index
from m3rag.errors import ArgumentError, InputError
from m3rag.langchain import M3EnsembleRetriever, M3SparseRetriever, M3VectorStore, retrieval_tool
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


@pytest.mark.parametrize("base", [{"tenant": "a"}, lambda d: d.metadata["tenant"] == "a"])
def test_components_over_a_store_have_its_base_filter(index, base):
    store = M3VectorStore(index, base_filter=base)
    ours = {"a0", "a1", "a2"}
    for given in (store, store.as_retriever(), M3SparseRetriever(store)):
        assert set(ids(M3EnsembleRetriever(given, k=6).invoke(QUERY))) == ours
        assert set(ids(M3VectorStore(given).documents())) == ours
    tool = retrieval_tool(M3EnsembleRetriever(store, k=6))
    call = {"name": "search", "args": {"query": QUERY}, "id": "1", "type": "tool_call"}
    assert set(ids(tool.invoke(call).artifact)) == ours
    narrow = M3EnsembleRetriever(store, base_filter={"n": 1}, k=6)
    assert ids(narrow.invoke(QUERY)) == ["a1"]
    assert ids(narrow.invoke(QUERY, filter={"n": [0, 1]})) == ["a1"]
    wide = M3EnsembleRetriever(index, k=6)
    setattr(wide, "index", store)  # noqa: B010  # a store has one
    assert set(ids(wide.invoke(QUERY))) == ours
    assert "base_filter=" in repr(wide)


@pytest.mark.parametrize("base", [{"tenant": "a"}, lambda d: d.metadata["tenant"] == "a"])
@pytest.mark.parametrize("add", ["add_documents", "upsert_documents", "retriever"])
def test_adding_touches_no_document_of_others(index, base, add):
    store = M3VectorStore(index, base_filter=base)
    index.update_metadata({"source": "both.md"}, filter={"n": 2})
    theirs = index.get(["b0", "b1", "b2"])

    def write(name, tenant, **metadata):
        document = Document("A new fern.", id=name, metadata={"tenant": tenant, **metadata})
        if add == "retriever":
            return M3EnsembleRetriever(store).upsert_documents([document])
        return getattr(store, add)([document])

    with pytest.raises(InputError, match=r"Document 'new' does not match `base_filter`"):
        write("new", "b")
    with pytest.raises(InputError, match=r"'b0' is taken by a passage that does not match"):
        write("b0", "a")
    assert len(index) == 6
    write("new", "a", source="both.md")
    assert index.get(["b0", "b1", "b2"]) == theirs
    assert (index.get(["a2"]) == [None]) == (add != "add_documents")  # the old end of our document


def test_the_document_id_of_others(tiny):
    index = M3Index.open(model=tiny)
    store = M3VectorStore(index)
    store.add_documents([Document("Theirs.", metadata={"tenant": "b", "document_id": "x"})])
    ours = M3VectorStore(index, base_filter={"tenant": "a"})
    with pytest.raises(InputError, match="'x' is taken"):
        ours.upsert_documents([Document("Ours.", metadata={"tenant": "a", "document_id": "x"})])
    with pytest.raises(InputError, match="does not match"):
        M3EnsembleRetriever.from_texts(["Theirs."], model=tiny, base_filter={"tenant": "a"})


def test_neighbours_are_within_the_base_filter(tiny):
    parts = [("a", 0), ("a", 10), ("b", 20)]
    documents = [
        Document(
            f"A fern {n:02}.",
            metadata={"tenant": tenant, "document_id": "x", "start": n, "end": n + 10},
        )
        for tenant, n in parts
    ]
    store = M3VectorStore.from_documents(documents, model=tiny)
    retriever = M3EnsembleRetriever(store, base_filter={"tenant": "a"}, neighbours=9)
    (found,) = retriever.invoke("A fern")
    assert (found.metadata["start"], found.metadata["end"]) == (0, 20)
