"""The vector store: query modes, options and use in a `VectorStoreIndex`."""

import json
from itertools import pairwise

import numpy as np
import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import Document, QueryBundle, TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from m3rag import M3Index
from m3rag.errors import InputError
from m3rag.index.diversity import mmr
from m3rag.llama_index import M3Embedding, M3VectorStore
from tests.conftest import passes_need_the_loop
from tests.llama_index.conftest import IDS, MODES, QUERIES, TEXTS, make_nodes, make_query


def test_it_is_a_vector_store(shared):
    assert isinstance(shared, BasePydanticVectorStore)
    assert M3VectorStore.class_name() == "M3VectorStore"
    assert shared.stores_text
    assert shared.is_embedding_query
    assert shared.client is shared.index


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("k", [1, 4])
def test_every_mode_returns_k_nodes_with_descending_scores(shared, mode, k):
    result = shared.query(make_query("the soil and the plants", mode, k))
    assert len(result.nodes) == len(result.similarities) == len(result.ids) == k
    assert [node.node_id for node in result.nodes] == result.ids
    assert {type(score) for score in result.similarities} == {float}
    if mode != "mmr":
        assert result.similarities == sorted(result.similarities, reverse=True)


@pytest.mark.parametrize("mode", MODES)
async def test_async_equals_sync(shared, mode):
    assert await shared.aquery(make_query(mode=mode)) == shared.query(make_query(mode=mode))


@pytest.mark.parametrize(
    ("mode", "channel"), [("default", "dense"), ("sparse", "sparse"), ("text_search", "bm25")]
)
def test_modes_of_a_single_channel(shared, mode, channel):
    hits = shared.index.search("soil moisture sensor", 3, channels=[channel])
    result = shared.query(make_query(mode=mode))
    assert result.ids == [hit.passage.id for hit in hits]
    assert result.similarities == [getattr(hit, channel) for hit in hits]


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_alpha_mixes_sparse_and_dense(shared, alpha):
    result = shared.query(make_query(mode="hybrid", alpha=alpha, k=8))
    hits = {
        hit.passage.id: hit
        for hit in shared.index.search("soil moisture sensor", 8, channels=["dense", "sparse"])
    }
    for name, score in zip(result.ids, result.similarities, strict=True):
        expected = alpha * hits[name].dense + (1 - alpha) * hits[name].sparse
        assert score == pytest.approx(expected, abs=1e-6)


def test_hybrid_without_alpha_uses_the_weights_of_the_store(shared):
    store = M3VectorStore(shared.index, weights=[0, 0, 1])
    hits = shared.index.search("soil moisture sensor", 3, weights={"colbert": 1})
    assert store.query(make_query(mode="hybrid")).similarities == [hit.score for hit in hits]


def test_options_of_a_retriever(shared):
    index = VectorStoreIndex.from_vector_store(shared, embed_model=shared.embed_model)
    retriever = index.as_retriever(
        vector_store_query_mode="hybrid",
        similarity_top_k=3,
        vector_store_kwargs={"weights": "cross-lingual", "fusion": "rrf", "candidates": 5},
    )
    hits = shared.index.search("shade", 3, weights="cross-lingual", fusion="rrf", candidates=5)
    assert [found.score for found in retriever.retrieve("shade")] == [hit.score for hit in hits]


def test_hybrid_and_sparse_have_their_own_top_k(shared):
    assert len(shared.query(make_query(mode="hybrid", k=3, hybrid_top_k=2)).ids) == 2
    assert len(shared.query(make_query("the soil", mode="sparse", k=3, sparse_top_k=1)).ids) == 1


@pytest.mark.parametrize("mode", ["default", "mmr"])
def test_an_embedding_without_a_text(shared, tiny, mode):
    vector = tiny.encode(["soil moisture sensor"]).dense[0].tolist()
    query = VectorStoreQuery(
        query_embedding=vector, mode=VectorStoreQueryMode(mode), similarity_top_k=3
    )
    assert shared.query(query).ids == shared.query(make_query(mode=mode)).ids


def test_the_embedding_is_used_before_the_text(shared, tiny):
    """HyDE embeds other words than those of the query."""
    index = VectorStoreIndex.from_vector_store(shared, embed_model=shared.embed_model)
    bundle = QueryBundle("helechos", custom_embedding_strs=["A cactus needs sun."])
    (best,) = index.as_retriever(similarity_top_k=1).retrieve(bundle)
    assert best.node_id == "cactus"


def test_an_embedding_of_a_wrong_width_is_an_error(shared):
    with pytest.raises(InputError, match=r"256 finite numbers.*\(3,\)"):
        shared.query(VectorStoreQuery(query_embedding=[0.1, 0.2, 0.3]))


def test_mmr_with_threshold_one_is_the_default_order(shared):
    found = shared.query(make_query(mode="mmr", k=5), mmr_threshold=1.0)
    assert found.ids == shared.query(make_query(k=5)).ids


def test_mmr_with_a_low_threshold_avoids_similar_nodes(shared):
    alike = shared.query(make_query(k=2)).ids
    other = shared.query(make_query(mode="mmr", k=2, mmr_threshold=0.05)).ids
    assert alike[0] == other[0]
    assert alike[1] != other[1]


def test_mmr_follows_the_formula():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(12, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query, passages = vectors[0], vectors[1:]
    chosen = mmr(passages @ query, passages, 6, 0.3)
    for n, (row, score) in enumerate(chosen):
        before = [earlier for earlier, _ in chosen[:n]]
        scores = {
            i: 0.3 * float(passages[i] @ query)
            - 0.7 * max((float(passages[i] @ passages[j]) for j in before), default=0.0)
            for i in range(len(passages))
            if i not in before
        }
        assert row == max(scores, key=scores.get)
        assert score == pytest.approx(scores[row], abs=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_store_finds_nothing(tiny, mode):
    assert M3VectorStore(M3Index.open(model=tiny)).query(make_query(mode=mode)).ids == []


@pytest.mark.parametrize("mode", ["semantic_hybrid", "svm", "linear_regression"])
def test_the_error_of_an_unsupported_mode_lists_the_modes(shared, mode):
    with pytest.raises(
        InputError, match=f"does not support the mode '{mode}'.*default, sparse, text_search"
    ):
        shared.query(make_query(mode=mode))


def test_a_mode_that_needs_a_text(shared, tiny):
    query = VectorStoreQuery(query_embedding=[0.0] * 256, mode=VectorStoreQueryMode.SPARSE)
    with pytest.raises(InputError, match="'sparse' needs its text, `query_str`"):
        shared.query(query)


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"alpha": 1.5, "mode": "hybrid"}, {}, r"`alpha` must be from 0 to 1, got 1\.5"),
        ({"mode": "mmr"}, {"mmr_threshold": -1}, "`mmr_threshold` must be from 0 to 1, got -1"),
        ({}, {"ef": 10}, "query of M3VectorStore has no argument `ef`"),
    ],
)
def test_invalid_options(shared, settings, options, message):
    with pytest.raises(InputError, match=message):
        shared.query(make_query(**settings), **options)


def test_nodes_are_returned_as_they_were_added(shared):
    originals = {node.node_id: node for node in make_nodes()}
    for node in shared.query(make_query(k=8)).nodes:
        assert node == originals[node.node_id]
        assert node.hash == originals[node.node_id].hash


def test_results_can_be_saved_as_json(shared):
    index = VectorStoreIndex.from_vector_store(shared, embed_model=shared.embed_model)
    for found in index.as_retriever().retrieve("soil"):
        assert json.loads(found.model_dump_json())["score"] == found.score


async def test_the_store_does_not_block_the_event_loop(fresh, nodes, monkeypatch):
    store = M3VectorStore(M3Index.open(model=fresh))
    passes_need_the_loop(fresh, monkeypatch)
    await store.async_add(nodes)
    await store.aquery(make_query(mode="hybrid"))
    assert fresh.passes == 2


def test_the_default_is_an_index_in_memory(monkeypatch, tiny):
    monkeypatch.setattr("m3rag.model.shared.shared_model", lambda *name: tiny)
    assert len(M3VectorStore().index) == 0


def test_from_nodes(tiny, nodes, tmp_path):
    store = M3VectorStore.from_nodes(nodes, model=tiny, path=tmp_path / "kb", colbert="off")
    assert (len(store.index), store.index.manifest.colbert) == (len(TEXTS), "off")
    store.index.close()


def test_a_vector_store_index_needs_one_pass_per_text_and_query(fresh, nodes):
    store = M3VectorStore(M3Index.open(model=fresh))
    index = VectorStoreIndex(
        nodes,
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=store.embed_model,
    )
    assert fresh.encoded == len(nodes)
    for mode in MODES:
        found = index.as_retriever(vector_store_query_mode=mode).retrieve("soil moisture sensor")
        assert found[0].node_id == "sensor"
    assert fresh.encoded == len(nodes) + 1


async def test_a_vector_store_index_works_asynchronously(own):
    index = VectorStoreIndex.from_vector_store(own, embed_model=own.embed_model)
    await index.ainsert_nodes([TextNode(id_="new", text="Tulips bloom in spring.")])
    (found,) = await index.as_retriever(similarity_top_k=1).aretrieve("When do tulips bloom?")
    assert found.node_id == "new"
    assert type(found.score) is float


def test_a_document_can_be_inserted_and_deleted_through_the_index(own):
    index = VectorStoreIndex.from_vector_store(own, embed_model=own.embed_model)
    index.insert(Document(text="Tulips bloom in spring.", id_="tulips.md"))
    assert (
        index.as_retriever(similarity_top_k=1).retrieve("tulips")[0].node.ref_doc_id == "tulips.md"
    )
    index.delete_ref_doc("tulips.md")
    assert {n.node_id for n in own.get_nodes()} == IDS


def test_an_m3_embedding_as_embed_model(fresh, nodes):
    store = M3VectorStore(M3Index.open(model=fresh))
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex(nodes, storage_context=context, embed_model=M3Embedding(model=fresh))
    assert index.as_retriever().retrieve("soil moisture sensor")[0].node_id == "sensor"


@pytest.mark.parametrize("text", QUERIES)
def test_memory_and_folder_agree(tiny, tmp_path, text):
    found = []
    for path in (None, tmp_path / "kb"):
        store = M3VectorStore.from_nodes(make_nodes(), model=tiny, path=path)
        found.append([store.query(make_query(text, mode)) for mode in MODES])
        store.index.close()
    for memory, folder in pairwise(found):
        for one, other in zip(memory, folder, strict=True):
            assert one.ids == other.ids
            assert one.similarities == pytest.approx(other.similarities, abs=5e-3)
