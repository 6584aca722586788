"""The components in LlamaIndex's pipelines, query engines and chat engines."""

import pytest
from llama_index.core import MockEmbedding
from llama_index.core.chat_engine import CondensePlusContextChatEngine
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import Document
from llama_index.core.storage.docstore import SimpleDocumentStore

from m3rag import M3Index
from m3rag.llama_index import (
    M3Embedding,
    M3EnsembleRetriever,
    M3NodeParser,
    M3Reranker,
    M3SparseRetriever,
    M3VectorStore,
)

DOCUMENTS = [
    Document(text=f"# Plant {i}\n\nPlant number {i} likes {i} litres of water.", id_=f"{i}.md")
    for i in range(6)
]


@pytest.fixture
def ensemble(tiny, nodes):
    return M3EnsembleRetriever.from_nodes(nodes, model=tiny, similarity_top_k=3)


@pytest.fixture
def store(fresh):
    return M3VectorStore(M3Index.open(model=fresh))


def pipeline(store, **settings):
    model = store.index.model
    return IngestionPipeline(
        transformations=[M3NodeParser(model=model, max_tokens=64), store.embed_model],
        vector_store=store,
        **settings,
    )


def test_an_ingestion_pipeline_needs_one_pass_per_text(store, fresh):
    nodes = pipeline(store).run(documents=DOCUMENTS)
    assert fresh.encoded == len(nodes) == len(store.index) == 6


@pytest.mark.slow
def test_an_ingestion_pipeline_with_two_workers(tiny, store):
    """The workers load the model again and embed like this process."""
    transformations = [M3NodeParser(model=tiny, max_tokens=64), M3Embedding(model=tiny)]
    nodes = IngestionPipeline(transformations=transformations, vector_store=store).run(
        documents=DOCUMENTS, num_workers=2
    )
    assert len(nodes) == len(store.index) == 6
    for node in nodes:
        assert node.embedding == pytest.approx(tiny.encode([node.text]).dense[0].tolist(), abs=1e-4)


async def test_an_ingestion_pipeline_works_asynchronously(store):
    assert len(await pipeline(store).arun(documents=DOCUMENTS)) == 6
    assert len(store.index) == 6


def test_a_docstore_replaces_changed_documents_and_skips_others(store, fresh):
    run = pipeline(
        store, docstore=SimpleDocumentStore(), docstore_strategy=DocstoreStrategy.UPSERTS
    ).run
    run(documents=DOCUMENTS)
    before = fresh.encoded
    assert run(documents=DOCUMENTS) == []
    assert fresh.encoded == before
    run(documents=[*DOCUMENTS[1:], Document(text="Cacti like sun.", id_="0.md")])
    assert fresh.encoded == before + 1
    assert len(store.index) == 6
    assert {n.text for n in store.get_nodes() if n.ref_doc_id == "0.md"} == {"Cacti like sun."}


def test_a_docstore_deletes_removed_documents(store):
    run = pipeline(
        store, docstore=SimpleDocumentStore(), docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE
    ).run
    run(documents=DOCUMENTS)
    run(documents=DOCUMENTS[:2])
    assert {n.ref_doc_id for n in store.get_nodes()} == {"0.md", "1.md"}


def test_settings_are_part_of_the_cache_key(tiny):
    """Another `max_length` gives other vectors, which must not share a cache entry."""
    first = M3Embedding(model=tiny)
    other = M3Embedding(model="tiny", max_length=16)
    assert first.to_dict() != other.to_dict()


def test_a_query_engine_answers_with_its_sources(ensemble):
    engine = RetrieverQueryEngine.from_args(
        ensemble, llm=MockLLM(), node_postprocessors=[M3Reranker(index=ensemble.index, top_n=2)]
    )
    response = engine.query("soil moisture sensor")
    assert "soil moisture" in str(response)
    assert response.source_nodes[0].node_id == "sensor"
    assert set(response.source_nodes[0].scores) == {"dense", "sparse", "colbert"}


async def test_a_query_engine_works_asynchronously(ensemble):
    engine = RetrieverQueryEngine.from_args(ensemble, llm=MockLLM())
    response = await engine.aquery("soil moisture sensor")
    assert response.source_nodes[0].node_id == "sensor"


@pytest.mark.parametrize("use_async", [False, True])
@pytest.mark.parametrize("mode", ["simple", "reciprocal_rerank", "relative_score"])
def test_the_fusion_of_llama_index_accepts_the_retrievers(tiny, nodes, ensemble, use_async, mode):
    sparse = M3SparseRetriever.from_nodes(nodes, model=tiny)
    fusion = QueryFusionRetriever(
        [ensemble, sparse], llm=MockLLM(), num_queries=1, use_async=use_async, mode=mode
    )
    assert fusion.retrieve("soil moisture sensor")[0].node_id == "sensor"


def test_a_chat_engine_has_memory(ensemble):
    chat = CondensePlusContextChatEngine.from_defaults(
        retriever=ensemble, llm=MockLLM(), memory=ChatMemoryBuffer.from_defaults(token_limit=3000)
    )
    chat.chat("Who likes shade?")
    response = chat.chat("And the cactus?")
    assert response.source_nodes
    assert len(chat.chat_history) == 4


def test_a_mock_embedding_is_not_needed(store):
    assert not isinstance(store.embed_model, MockEmbedding)
    assert store.embed_model.get_query_embedding("x")
