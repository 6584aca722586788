"""Query bundles: texts and embeddings other than the question, in every retriever."""

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.indices.query.query_transform import HyDEQueryTransform
from llama_index.core.llms import CompletionResponse, MockLLM
from llama_index.core.retrievers import QueryFusionRetriever, TransformRetriever
from llama_index.core.schema import QueryBundle

from m3rag import Query
from m3rag.llama_index import M3EnsembleRetriever, M3SparseRetriever, M3VectorStore
from tests.llama_index.conftest import ids, make_nodes, make_query

ANSWERS = ["A cactus needs sun.", "Cacti need very little water."]
HYDE = QueryBundle("gadget", custom_embedding_strs=ANSWERS)


@pytest.fixture(scope="module")
def store(tiny):
    return M3VectorStore.from_nodes(make_nodes(), model=tiny)


@pytest.fixture(params=[M3EnsembleRetriever, M3SparseRetriever])
def retriever(request, store):
    return request.param(store)


def vector(tiny, text):
    return tiny.encode([text]).dense[0].tolist()


async def test_custom_texts_are_heard_in_all_channels(retriever):
    hits = retriever.index.search(Query(ANSWERS), 4, settings=retriever.settings)
    found = retriever.retrieve(HYDE)
    assert found == await retriever.aretrieve(HYDE)
    assert [(one.node_id, one.score) for one in found] == [(h.passage.id, h.score) for h in hits]
    assert ids(found)[0] == "cactus"
    assert found != retriever.retrieve("gadget")


def test_an_embedding_replaces_the_dense_vector(store, tiny):
    retriever = M3EnsembleRetriever(store, similarity_top_k=8)
    bundle = QueryBundle("gadget", embedding=vector(tiny, ANSWERS[0]))
    heard = {one.node_id: one.scores for one in retriever.retrieve(bundle)}
    plain = {one.node_id: one.scores for one in retriever.retrieve("gadget")}
    dense = {one.node_id: one.scores["dense"] for one in retriever.retrieve(ANSWERS[0])}
    assert {name: scores["dense"] for name, scores in heard.items()} == pytest.approx(dense)
    for channel in ("sparse", "colbert"):
        assert [heard[name][channel] for name in plain] == pytest.approx(
            [scores[channel] for scores in plain.values()]
        )


async def test_an_embedding_without_a_text(store, tiny):
    retriever = M3EnsembleRetriever(store, similarity_top_k=2, min_score=0.2)
    bundle = QueryBundle("", embedding=vector(tiny, ANSWERS[0]))
    found = retriever.retrieve(bundle)
    assert found == await retriever.aretrieve(bundle)
    assert ids(found)[0] == "cactus"
    assert M3SparseRetriever(store).retrieve(bundle) == []


def test_an_embedding_of_another_model_is_ignored(store):
    """Fusion passes one bundle to all retrievers, and another store's retriever sets its own."""
    retriever = M3EnsembleRetriever(store)
    assert retriever.retrieve(QueryBundle("soil", embedding=[0.1] * 7)) == retriever.retrieve(
        "soil"
    )


def test_an_embedding_without_a_dense_channel_is_ignored(store, tiny):
    retriever = M3EnsembleRetriever(store, channels=["colbert"])
    bundle = QueryBundle("soil", embedding=vector(tiny, "cactus"))
    assert retriever.retrieve(bundle) == retriever.retrieve("soil")


@pytest.mark.parametrize("include_original", [False, True])
def test_hyde(retriever, include_original):
    hyde = HyDEQueryTransform(llm=MockLLM(), include_original=include_original)
    bundle = hyde.run("soil moisture")
    assert len(bundle.custom_embedding_strs) == 1 + include_original
    found = TransformRetriever(retriever, query_transform=hyde).retrieve("soil moisture")
    assert found == retriever.retrieve(bundle)


def test_the_hybrid_mode_hears_the_embedding(store, tiny):
    query = make_query("gadget", "hybrid", 8, query_embedding=vector(tiny, ANSWERS[0]), alpha=1.0)
    dense = store.query(make_query(ANSWERS[0], k=8))
    assert store.query(query).ids == dense.ids
    index = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)
    hybrid = index.as_retriever(vector_store_query_mode="hybrid", alpha=1.0, similarity_top_k=1)
    assert ids(hybrid.retrieve(HYDE)) == ["cactus"]


@pytest.mark.parametrize("mode", ["reciprocal_rerank", "relative_score", "simple"])
def test_fusion_of_several_questions(store, mode):
    class Questions(MockLLM):
        def complete(self, *args, **kwargs):
            return CompletionResponse(text="A cactus needs sun.\nWho likes shade?")

    index = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)
    fusion = QueryFusionRetriever(
        [M3EnsembleRetriever(store), M3SparseRetriever(store), index.as_retriever()],
        llm=Questions(),
        num_queries=3,
        mode=mode,
        use_async=False,
        similarity_top_k=4,
    )
    assert {"cactus", "shade"} <= set(ids(fusion.retrieve("soil moisture sensor")))


def test_a_vector_of_any_length(store, tiny):
    short = (np.array(vector(tiny, ANSWERS[0])) / 7).tolist()
    retriever = M3EnsembleRetriever(store)
    long = retriever.retrieve(QueryBundle("soil", embedding=vector(tiny, ANSWERS[0])))
    found = retriever.retrieve(QueryBundle("soil", embedding=short))
    assert [one.score for one in found] == pytest.approx([one.score for one in long])
