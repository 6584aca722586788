"""The vector store, beyond LangChain's standard tests."""

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.stores import InMemoryStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from m3rag import M3Index
from m3rag.errors import InputError
from m3rag.langchain import M3Embeddings, M3VectorStore
from tests.conftest import passes_need_the_loop
from tests.langchain.conftest import DOCUMENTS, QUERY, MultiVectorRetriever, ids


@pytest.fixture(params=["memory", "folder"], scope="module")
def store(request, tiny, tmp_path_factory):
    """A store that tests only read."""
    path = None if request.param == "memory" else tmp_path_factory.mktemp("store") / "kb"
    store = M3VectorStore(model=tiny, path=path)
    with store.index:
        store.add_documents(DOCUMENTS)
        yield store


def test_documents_are_returned_as_they_were_added(store):
    found = store.similarity_search(QUERY, k=10)
    assert sorted(found, key=lambda d: str(d.id)) == sorted(DOCUMENTS, key=lambda d: str(d.id))


def test_scores_are_cosines(store, tiny):
    found = store.similarity_search_with_score(QUERY, k=3)
    vectors = tiny.encode([QUERY, *(d.page_content for d, _ in found)]).dense
    assert [score for _, score in found] == pytest.approx(vectors[1:] @ vectors[0], abs=1e-6)
    assert {type(score) for _, score in found} == {float}


def test_search_by_vector_equals_search_by_query(store, tiny):
    vector = store.embeddings.embed_query(QUERY)
    assert store.similarity_search_by_vector(vector, k=3) == store.similarity_search(QUERY, k=3)


@pytest.mark.parametrize("vector", [[1.0, 0.0], [float("nan")] * 256])
def test_an_invalid_vector(store, vector):
    with pytest.raises(InputError, match="256 finite numbers"):
        store.similarity_search_by_vector(vector)


def test_hybrid_search_with_weights(store):
    hits = store.index.search(QUERY, 3, weights="default")
    found = M3VectorStore(store.index, weights="default").similarity_search_with_score(QUERY, 3)
    assert [(d.id, s) for d, s in found] == [(hit.passage.id, hit.score) for hit in hits]
    assert store.similarity_search_with_score(QUERY, 3, weights="default") == found


def test_relevance_is_between_0_and_1(store):
    for weights in ({"dense": 1}, {"sparse": 1}, {"bm25": 1}, "default"):
        hybrid = M3VectorStore(store.index, weights=weights)
        found = hybrid.similarity_search_with_relevance_scores("the plants at night", k=5)
        assert found
        assert all(0 <= score <= 1 for _, score in found)
    (cosine, relevance) = (
        search(QUERY, k=1)[0][1]
        for search in (
            store.similarity_search_with_score,
            store.similarity_search_with_relevance_scores,
        )
    )
    assert relevance == pytest.approx(max(0, cosine))


@pytest.mark.parametrize(
    "where",
    [
        {"lang": ["es", "zh"]},
        lambda document: document.metadata["lang"] in ("es", "zh"),
        lambda document: document.id in ("helecho", "植物"),
    ],
)
def test_filters(store, where):
    vector = store.embeddings.embed_query(QUERY)
    for found in (
        store.similarity_search(QUERY, filter=where),
        store.similarity_search_by_vector(vector, filter=where),
        store.max_marginal_relevance_search(QUERY, filter=where),
        store.as_retriever(search_kwargs={"filter": where}).invoke(QUERY),
    ):
        assert set(ids(found)) == {"helecho", "植物"}


def test_a_filter_without_matches(store):
    assert store.similarity_search(QUERY, filter=lambda document: False) == []


@pytest.mark.parametrize("lambda_mult", [0.0, 0.5, 1.0])
def test_mmr_equals_that_of_langchain(store, tiny, lambda_mult):
    near = store.similarity_search(QUERY, k=4)
    vectors = tiny.encode([QUERY, *(d.page_content for d in near)]).dense
    chosen = maximal_marginal_relevance(vectors[0], vectors[1:].tolist(), lambda_mult, 3)
    found = store.max_marginal_relevance_search(QUERY, k=3, fetch_k=4, lambda_mult=lambda_mult)
    assert ids(found) == [near[i].id for i in chosen]


def test_mmr_avoids_duplicates(tiny):
    texts = ["Ferns like shade.", "Ferns like shade.", "The pump waters the plants."]
    store = M3VectorStore.from_texts(texts, ids=["a", "b", "c"], model=tiny)
    assert ids(store.similarity_search("ferns", k=2)) == ["a", "b"]
    assert ids(store.max_marginal_relevance_search("ferns", k=2, lambda_mult=0.3)) == ["a", "c"]


def test_mmr_encodes_only_the_query(fresh):
    store = M3VectorStore.from_documents(DOCUMENTS, model=fresh)
    store.max_marginal_relevance_search(QUERY)
    assert fresh.encoded == len(DOCUMENTS) + 1


@pytest.mark.parametrize("kind", ["similarity", "mmr", "similarity_score_threshold"])
async def test_as_retriever(store, kind):
    settings = {"k": 2} | ({"score_threshold": 0.01} if "threshold" in kind else {})
    retriever = store.as_retriever(search_type=kind, search_kwargs=settings)
    found = retriever.invoke(QUERY)
    assert len(found) == 2
    assert found[0].id == "fern"
    assert await retriever.ainvoke(QUERY) == found
    assert all(document in DOCUMENTS for document in found)


def test_k_of_a_store_retriever(store):
    retriever = store.as_retriever(search_kwargs={"k": 1})
    assert len(retriever.invoke(QUERY, k=3)) == 3


async def test_async_equals_sync(store):
    vector = await store.embeddings.aembed_query(QUERY)
    pairs = [
        (store.similarity_search(QUERY), store.asimilarity_search(QUERY)),
        (store.similarity_search_with_score(QUERY), store.asimilarity_search_with_score(QUERY)),
        (store.max_marginal_relevance_search(QUERY), store.amax_marginal_relevance_search(QUERY)),
        (
            store.similarity_search_by_vector(vector, k=1),
            store.asimilarity_search_by_vector(vector, k=1),
        ),
    ]
    for expected, found in pairs:
        assert await found == expected


async def test_async_add_does_not_block_the_loop(fresh, monkeypatch):
    store = M3VectorStore(model=fresh)
    passes_need_the_loop(fresh, monkeypatch)
    assert len(await store.aadd_texts(["fern", "pump", "sun", "shade"])) == 4


@pytest.mark.parametrize("way", ["documents", "texts"])
def test_from_documents_and_texts_with_an_embedding(tiny, way):
    if way == "documents":
        store = M3VectorStore.from_documents(DOCUMENTS, M3Embeddings(tiny))
    else:
        texts = [document.page_content for document in DOCUMENTS]
        metadatas = [document.metadata for document in DOCUMENTS]
        given = [str(document.id) for document in DOCUMENTS]
        store = M3VectorStore.from_texts(texts, M3Embeddings(tiny), metadatas, ids=given)
    assert store.get_by_ids(["pump", "fern"]) == [DOCUMENTS[4], DOCUMENTS[0]]


async def test_afrom_texts(tiny):
    store = await M3VectorStore.afrom_texts(["a", "b"], M3Embeddings(tiny), ids=["1", "2"])
    assert len(await store.aget_by_ids(["1", "2"])) == 2


def test_another_embedding_is_refused():
    with pytest.raises(InputError, match=r"Pass M3Embeddings.*not DeterministicFakeEmbedding"):
        M3VectorStore.from_texts(["a"], DeterministicFakeEmbedding(size=6))


def test_an_index_excludes_model_and_path(tiny, empty):
    with pytest.raises(
        InputError, match=r"already has a model, a path and settings\. Leave `model` out"
    ):
        M3VectorStore(empty, model=tiny)


def test_a_store_in_a_folder_persists(tiny, tmp_path):
    store = M3VectorStore.from_documents(DOCUMENTS, model=tiny, path=tmp_path / "kb")
    store.index.close()
    with M3Index.open(tmp_path / "kb", model=tiny) as again:
        assert M3VectorStore(again).get_by_ids(["pump"]) == [DOCUMENTS[4]]


def test_inputs_are_not_changed(documents, tiny):
    store = M3VectorStore.from_documents(documents, model=tiny)
    store.similarity_search(QUERY)[0].metadata["new"] = 1
    assert documents == DOCUMENTS
    assert all("new" not in d.metadata for d in store.similarity_search(QUERY))


def test_given_ids_override_those_of_the_documents(tiny, empty):
    store = M3VectorStore(empty)
    assert store.add_documents(DOCUMENTS[:2], ids=["x", None])[0] == "x"
    assert set(ids(store.similarity_search(QUERY))) == {"x", "helecho"}


def test_a_wrong_number_of_ids(empty):
    with pytest.raises(InputError, match="2 documents and 1 ids"):
        M3VectorStore(empty).add_documents(DOCUMENTS[:2], ids=["x"])


def test_delete(tiny, documents):
    store = M3VectorStore.from_documents(documents, model=tiny)
    assert store.delete(["fern", "unknown"]) is True
    assert store.delete(filter={"lang": "en"}) is True
    assert set(ids(store.similarity_search(QUERY))) == {"helecho", "植物"}
    store.delete(filter=lambda document: document.id == "helecho")
    assert ids(store.similarity_search(QUERY)) == ["植物"]
    with pytest.raises(InputError, match="either ids or a non-empty filter"):
        store.delete(["植物"], filter={"lang": "zh"})
    with pytest.raises(InputError, match="To delete all documents, pass delete_all=True"):
        store.delete()
    store.delete([])
    assert ids(store.similarity_search(QUERY)) == ["植物"]
    store.delete(delete_all=True)
    assert store.similarity_search(QUERY) == []


def test_the_batch_size_of_the_indexing_api_is_ignored(fresh, monkeypatch):
    """LangChain's `index` passes batch_size=100, but 100 long texts must not become one pass."""
    sizes = []
    encode = fresh.encode

    def spy(texts, **views):
        sizes.append(len(texts))
        return encode(texts, **views)

    monkeypatch.setattr(fresh, "encode", spy)
    store = M3VectorStore(model=fresh)
    store.add_documents([Document(f"text {i}") for i in range(100)], batch_size=100)
    assert max(sizes) < 100


def test_unknown_arguments_are_refused(store):
    for use in (
        lambda: store.add_documents([], top=1),
        lambda: store.similarity_search(QUERY, top=1),
        lambda: store.similarity_search_by_vector([0.0] * 256, top=1),
        lambda: store.max_marginal_relevance_search(QUERY, top=1),
    ):
        with pytest.raises(TypeError, match="top"):
            use()


def _index(documents, manager, store, cleanup):
    result = index(
        documents,
        manager,
        store,
        cleanup=cleanup,
        source_id_key="source",
        key_encoder="blake2b",
    )
    return result["num_added"], result["num_skipped"], result["num_deleted"]


@pytest.mark.parametrize("cleanup", ["incremental", "full"])
def test_the_indexing_api(tiny, empty, cleanup):
    store = M3VectorStore(empty)
    manager = InMemoryRecordManager("m3rag")
    manager.create_schema()
    first = [
        Document(f"passage {i} of {name}", metadata={"source": name, "at": {"start": i}})
        for name in ("a", "b")
        for i in range(3)
    ]
    assert _index(first, manager, store, cleanup) == (6, 0, 0)
    assert _index(first, manager, store, cleanup) == (0, 6, 0)
    changed = [*first[:2], Document("new", metadata={"source": "a", "at": {"start": 9}})]
    gone = 1 if cleanup == "incremental" else 4  # full cleanup also deletes "b"
    assert _index(changed, manager, store, cleanup) == (1, 2, gone)
    left = {document.page_content for document in store.similarity_search("passage", k=10)}
    assert {document.page_content for document in changed} <= left
    assert len(left) == 7 - gone


def test_in_a_multi_vector_retriever(tiny, empty):
    store = M3VectorStore(empty)
    parents = {"plants": Document("All about plants."), "pumps": Document("All about pumps.")}
    store.add_documents(
        [
            Document("Ferns like shade.", metadata={"doc_id": "plants"}),
            Document("Cacti like the sun.", metadata={"doc_id": "plants"}),
            Document("The pump runs at night.", metadata={"doc_id": "pumps"}),
        ]
    )
    docstore = InMemoryStore()
    docstore.mset(list(parents.items()))
    retriever = MultiVectorRetriever(vectorstore=store, docstore=docstore, id_key="doc_id")
    found = retriever.invoke("ferns in the shade")
    assert found[0] == parents["plants"]
    assert len(found) == 2


def test_embeddings_use_the_model_of_the_store(store, tiny):
    assert isinstance(store.embeddings, M3Embeddings)
    assert store.embeddings.model is tiny
    assert np.linalg.norm(store.embeddings.embed_query(QUERY)) == pytest.approx(1, abs=1e-5)
