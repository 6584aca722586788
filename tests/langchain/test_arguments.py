"""Nothing is silently ignored: arguments, names and values are checked where they are given."""

import re
from typing import Any

import pytest
from langchain_core.documents import Document

from m3rag import M3Index
from m3rag.errors import ArgumentError, InputError
from m3rag.langchain import (
    M3Embeddings,
    M3EnsembleRetriever,
    M3Reranker,
    M3SparseRetriever,
    M3TextSplitter,
    M3VectorStore,
)
from tests.langchain.conftest import DOCUMENTS, QUERY

BAD: list[Any] = [7]  # no document
RETRIEVERS = [M3EnsembleRetriever, M3SparseRetriever]


def refusals():
    """Return calls with a wrong argument, and the argument that the error must name."""
    yield lambda i: M3Embeddings("tiny", max_lenght=3), "max_lenght", "max_length"
    yield lambda i: M3Embeddings(model_name="tiny"), "model_name", "model"
    yield lambda i: M3Embeddings("tiny", cache_folder="x"), "cache_folder", None
    yield lambda i: M3TextSplitter("tiny", max_tokens=128), "max_tokens", "chunk_size"
    yield lambda i: M3TextSplitter("tiny", overlap=1), "overlap", "chunk_overlap"
    yield lambda i: M3TextSplitter("tiny", length_function=len), "length_function", None
    yield lambda i: M3Reranker(index=i, topn=1), "topn", "top_n"
    yield lambda i: M3Reranker(index=i, k=1), "k", "top_n"
    yield lambda i: M3VectorStore(i, wieghts="default"), "wieghts", "weights"
    yield lambda i: M3VectorStore(model="tiny", persist_directory="x"), "persist_directory", "path"
    yield lambda i: M3VectorStore.from_texts(["a"], model="tiny", colberts=1), "colberts", "colbert"
    yield lambda i: M3VectorStore.from_documents([], embeddings=1), "embeddings", "embedding"
    yield lambda i: M3VectorStore(i).add_documents([], id=["a"]), "id", "ids"
    yield lambda i: M3VectorStore(i).add_texts([], metadata=[{}]), "metadata", "metadatas"
    yield lambda i: M3VectorStore(i).delete(where={"a": 1}), "where", "filter"
    yield lambda i: M3VectorStore(i).similarity_search(QUERY, top_k=1), "top_k", "k"
    yield lambda i: M3VectorStore(i).similarity_search_by_vector([], fitler={}), "fitler", "filter"
    yield lambda i: M3VectorStore(i).max_marginal_relevance_search(QUERY, fetchk=1), "fetchk", None
    yield lambda i: M3VectorStore(i).as_retriever(search_kwarg={}), "search_kwarg", "search_kwargs"
    yield lambda i: M3VectorStore(i).as_retriever(search_kwargs={"top_k": 3}), "top_k", "k"
    for kind in RETRIEVERS:
        yield lambda i, kind=kind: kind(i, top_k=1), "top_k", "k"
        yield lambda i, kind=kind: kind(i).invoke(QUERY, filters={}), "filters", "filter"
        yield lambda i, kind=kind: kind(i).batch([QUERY], fliter={}), "fliter", "filter"
        yield lambda i, kind=kind: kind(i).invoke(QUERY, base_filter={}), "base_filter", "filter"
        yield lambda i, kind=kind: setattr(kind(i), "topk", 3), "topk", "k"
        yield lambda i, kind=kind: kind.from_texts(["a"], model="tiny", topk=3), "topk", "k"


@pytest.mark.parametrize(("call", "name", "nearest"), [*refusals()])
def test_unknown_arguments_are_refused_with_the_nearest(shared_index, call, name, nearest):
    with pytest.raises(ArgumentError) as caught:
        call(shared_index)
    message = str(caught.value)
    assert f"has no argument `{name}`" in message
    assert nearest is None or f"Did you mean `{nearest}`?" in message


async def test_unknown_arguments_of_asynchronous_calls(shared_index):
    store = M3VectorStore(shared_index)
    retriever = M3EnsembleRetriever(shared_index)
    for call in (
        store.aadd_documents([], id=["a"]),
        store.adelete(where={}),
        store.asimilarity_search(QUERY, top_k=1),
        store.aupsert_documents([], source="a"),
        retriever.ainvoke(QUERY, top_k=1),
        M3EnsembleRetriever.afrom_texts(["a"], model="tiny", top_k=1),
    ):
        with pytest.raises(ArgumentError, match="Did you mean"):
            await call


def test_k_of_a_store_retriever_belongs_into_search_kwargs(shared_index):
    """LangChain's own `as_retriever` ignores it."""
    with pytest.raises(ArgumentError, match="takes `k` in search_kwargs: search_kwargs="):
        M3VectorStore(shared_index).as_retriever(k=3)
    with pytest.raises(InputError, match="search_type of nearest not allowed"):
        M3VectorStore(shared_index).as_retriever(search_type="nearest")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": "nope"}, "Unknown weights 'nope'"),
        ({"base_filter": {"a": {"gtt": 1}}}, "gtt"),
        ({"scores": None}, "`scores` must be True, False or the beginning of the keys"),
        ({"neighbours": -1}, "`neighbours` must be an integer of at least 0, got -1"),
        ({"k": "many"}, "M3EnsembleRetriever: `k`: input should be a valid integer"),
        ({"filter": {"a": {"gtt": 1}}}, "gtt"),
    ],
)
def test_values_are_checked_at_construction_and_at_assignment(shared_index, settings, message):
    with pytest.raises(InputError, match=re.escape(message)):
        M3EnsembleRetriever(shared_index, **settings)
    retriever = M3EnsembleRetriever(shared_index)
    ((name, value),) = settings.items()
    with pytest.raises(InputError, match=re.escape(message)):
        setattr(retriever, name, value)
    assert getattr(retriever, name) == M3EnsembleRetriever.model_fields[name].default
    assert retriever.invoke(QUERY)


def test_names_of_the_store_are_checked_at_construction(shared_index):
    with pytest.raises(InputError, match="Unknown weights 'nope'"):
        M3VectorStore(shared_index, weights="nope")
    with pytest.raises(InputError, match="gtt"):
        M3VectorStore(shared_index, base_filter={"a": {"gtt": 1}})
    with pytest.raises(InputError, match="max_length=1 is out of range"):
        M3Embeddings("tiny", max_length=1)


def test_a_folder_that_was_opened_for_nothing_is_closed_again(tiny, tmp_path):
    with M3Index.open(tmp_path / "kb", model=tiny):
        pass
    for make in (
        lambda: M3EnsembleRetriever(path=tmp_path / "kb", weights="nope"),
        lambda: M3EnsembleRetriever(tmp_path / "kb", k=0),
        lambda: M3VectorStore(path=tmp_path / "kb", weights="nope"),
        lambda: M3EnsembleRetriever.from_documents(BAD, path=tmp_path / "kb"),
        lambda: M3VectorStore.from_documents(BAD, path=tmp_path / "kb"),
    ):
        with pytest.raises(InputError):
            make()
        with M3Index.open(tmp_path / "kb", model=tiny) as index:
            assert len(index) == 0


@pytest.mark.parametrize("kind", [*RETRIEVERS, M3VectorStore])
def test_what_has_an_index_is_accepted(shared_index, kind):
    store = M3VectorStore(shared_index)
    for holder in (shared_index, store, store.as_retriever(), M3EnsembleRetriever(shared_index)):
        assert kind(holder).index is shared_index
    with pytest.raises(InputError, match="`index` must be an M3Index, an M3VectorStore"):
        kind(7)
    with pytest.raises(InputError, match="Leave `model`, `path`, `colbert` out"):
        kind(shared_index, model="tiny", path="kb", colbert="off")


def test_a_retriever_without_an_index():
    with pytest.raises(InputError, match="M3SparseRetriever needs an index: pass `index`, or `pat"):
        M3SparseRetriever()


def test_a_single_document_or_text(shared_index):
    store = M3VectorStore(shared_index)
    with pytest.raises(InputError, match="`documents` must be a list of Documents"):
        store.add_documents(DOCUMENTS[0])
    with pytest.raises(InputError, match="`texts` must be a list of strings"):
        store.add_texts("a text")
    texts: list[Any] = [DOCUMENTS[0]]
    with pytest.raises(InputError, match="Documents go to add_documents and from_documents"):
        store.add_texts(texts)


@pytest.mark.parametrize("ids", [["1"], []])
def test_too_few_ids_or_metadatas(shared_index, ids):
    store = M3VectorStore(shared_index)
    with pytest.raises(InputError, match=f"Got 3 texts and {len(ids)} ids"):
        store.add_texts(list("abc"), ids=ids)
    with pytest.raises(InputError, match="Got 3 texts and 1 metadatas"):
        store.add_texts(list("abc"), [{}])


def test_generators_of_texts_metadatas_and_ids(empty):
    """langchain-core's `add_texts` stores nothing of a generator."""
    store = M3VectorStore(empty)
    ids = store.add_texts((t for t in "abc"), ({"n": n} for n in range(3)), ids=iter("123"))
    assert ids == ["1", "2", "3"]
    assert [d.metadata for d in store.get_by_ids(ids)] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert len(store.add_documents(document for document in DOCUMENTS)) == len(DOCUMENTS)
    assert store.add_texts(["x", "y"], ids=["1", None])[0] == "1"


@pytest.mark.parametrize("way", ["add_documents", "upsert_documents"])
def test_one_document_that_cannot_be_stored(empty, way):
    """All are checked before the first is stored, and the message names the one."""
    documents = [Document(f"text {i}", metadata={"source": f"file{i}.pdf"}) for i in range(100)]
    documents[70].metadata["opened"] = object()
    with pytest.raises(InputError) as caught:
        getattr(M3VectorStore(empty), way)(documents)
    message = str(caught.value)
    assert message.startswith("Document 70 of 100 (source 'file70.pdf') cannot be stored: its met")
    assert "'opened'" in message
    assert message.endswith("Nothing was stored.")
    assert len(empty) == 0


def test_positional_filters(shared_index):
    """Chroma, FAISS and others take the filter as the third argument."""
    store = M3VectorStore(shared_index)
    vector = store.embeddings.embed_query(QUERY)
    for found in (
        store.similarity_search(QUERY, 4, {"lang": "es"}),
        store.similarity_search_by_vector(vector, 4, {"lang": "es"}),
        store.max_marginal_relevance_search(QUERY, 4, 20, 0.5, {"lang": "es"}),
        store.max_marginal_relevance_search_by_vector(vector, 4, 20, 0.5, {"lang": "es"}),
    ):
        assert [document.id for document in found] == ["helecho"]


def test_embeddings_of_the_store(tiny):
    assert M3VectorStore(embedding=M3Embeddings(tiny)).index.model is tiny
    with pytest.raises(InputError, match="Leave `model` out"):
        M3VectorStore(embedding=M3Embeddings(tiny), model=tiny)
