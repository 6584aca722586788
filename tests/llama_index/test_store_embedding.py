"""`store.embed_model` leaves nodes to the store, and embeds for everything else."""

import numpy as np
import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.evaluation import SemanticSimilarityEvaluator
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SemanticSplitterNodeParser
from llama_index.core.postprocessor import SentenceEmbeddingOptimizer
from llama_index.core.schema import Document, QueryBundle, TextNode

from m3rag import M3Index
from m3rag.llama_index import M3EnsembleRetriever, M3NodeParser, M3VectorStore
from tests.llama_index.conftest import IDS, make_nodes

TEXT = "Ferns like shade. Ferns like moist soil. The sensor sends a value. It uses radio."


@pytest.fixture
def store(fresh):
    return M3VectorStore(M3Index.open(model=fresh))


def splitter(store):
    return SemanticSplitterNodeParser(
        embed_model=store.embed_model, sentence_splitter=lambda text: text.split(". ")
    )


def test_a_text_has_a_vector(store, tiny):
    expected = tiny.encode(["Ferns"]).dense
    assert store.embed_model.get_text_embedding("Ferns") == pytest.approx(expected[0])
    assert store.embed_model.get_text_embedding_batch(["Ferns"])[0] == pytest.approx(expected[0])


async def test_a_text_has_a_vector_asynchronously(store, tiny):
    expected = tiny.encode(["Ferns"]).dense[0]
    model = store.embed_model
    assert await model.aget_text_embedding("Ferns") == pytest.approx(expected)
    assert (await model.aget_text_embedding_batch(["Ferns"]))[0] == pytest.approx(expected)


async def test_an_index_over_the_store_encodes_each_node_once(store, fresh):
    index = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)
    index.insert_nodes(make_nodes())
    assert fresh.encoded == len(IDS)
    await index.ainsert_nodes([TextNode(id_="new", text="Tulips bloom.")])
    assert fresh.encoded == len(IDS) + 1


@pytest.mark.parametrize("use_async", [False, True])
def test_an_index_that_is_built_encodes_each_node_once(store, fresh, use_async):
    VectorStoreIndex(
        make_nodes(),
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=store.embed_model,
        use_async=use_async,
    )
    assert fresh.encoded == len(IDS)


async def test_a_pipeline_into_the_store_encodes_each_node_once(store, fresh):
    steps = [M3NodeParser(model=fresh), store.embed_model]
    pipeline = IngestionPipeline(transformations=steps, vector_store=store)
    await pipeline.arun(documents=[Document(id_="a", text=TEXT)])
    pipeline.run(documents=[Document(id_="b", text=TEXT + " New.")])
    assert fresh.encoded == len(store.index) == 2


def test_another_store_gets_vectors(store):
    index = VectorStoreIndex(make_nodes(), embed_model=store.embed_model)
    (found,) = index.as_retriever(similarity_top_k=1).retrieve("soil moisture sensor")
    assert found.node_id == "sensor"
    assert found.score > 0.5


def test_a_pipeline_without_the_store_gets_vectors(store):
    nodes = IngestionPipeline(transformations=[store.embed_model]).run(nodes=make_nodes())
    assert {len(node.embedding) for node in nodes} == {256}


def test_a_semantic_splitter_gets_vectors(store):
    assert splitter(store).get_nodes_from_documents([Document(text=TEXT)])


def test_a_semantic_splitter_in_front_of_the_store_gets_vectors(store):
    """Its vectors are not those of nodes, although a pipeline with the store calls it."""
    pipeline = IngestionPipeline(
        transformations=[splitter(store), store.embed_model], vector_store=store
    )
    nodes = pipeline.run(documents=[Document(id_="a", text=TEXT)])
    assert [node.embedding for node in nodes] == [[]] * len(store.index)
    index = VectorStoreIndex.from_vector_store(
        store, embed_model=store.embed_model, transformations=[splitter(store)]
    )
    index.insert(Document(id_="b", text="Cacti like sun. " + TEXT))
    assert {node.ref_doc_id for node in store.get_nodes()} == {"a", "b"}


async def test_an_evaluator_gets_vectors(store):
    evaluator = SemanticSimilarityEvaluator(embed_model=store.embed_model)
    result = await evaluator.aevaluate(response="Ferns like shade.", reference="Ferns like shade.")
    assert result.score == pytest.approx(1, abs=1e-5)


def test_a_sentence_optimizer_gets_vectors(store):
    store.add([TextNode(text=TEXT)])
    optimizer = SentenceEmbeddingOptimizer(
        embed_model=store.embed_model,
        percentile_cutoff=0.5,
        tokenizer_fn=lambda text: text.split(". "),
        context_before=0,
        context_after=0,
    )
    (found,) = optimizer.postprocess_nodes(
        M3EnsembleRetriever(store.index).retrieve("shade"), query_bundle=QueryBundle("shade")
    )
    assert found.text.startswith("Ferns like shade ")
    assert len(found.text) < len(TEXT)


def test_similarity_to_a_text(store):
    model = store.embed_model
    score = model.similarity(model.get_query_embedding("shade"), model.get_text_embedding("shade"))
    assert np.isclose(score, 1, atol=1e-5)
