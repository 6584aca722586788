"""Dense and sparse embeddings, and the sparse functions for Qdrant and Milvus."""

import copy
import doctest
import json
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from multiprocessing.reduction import ForkingPickler  # sends components to worker processes

import numpy as np
import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding
from llama_index.core.instrumentation.events.embedding import (
    EmbeddingEndEvent,
    SparseEmbeddingEndEvent,
)

from m3rag.errors import MissingExtraError, ModelMismatchError
from m3rag.llama_index import M3Embedding, M3SparseEmbedding, sparse_encoder
from m3rag.model import shared
from tests.conftest import TEXTS, passes_need_the_loop

TWENTY = [f"plant number {i}" for i in range(20)]


def counting(call, sizes):
    def wrapped(texts, **kwargs):
        sizes.append(len(texts))
        return call(texts, **kwargs)

    return wrapped


def record(model, monkeypatch):
    """Return the batch sizes of the calls of "encode" and "aencode", updated as they happen."""
    calls: dict[str, list[int]] = {"encode": [], "aencode": []}
    for name in calls:
        monkeypatch.setattr(model, name, counting(getattr(model, name), calls[name]))
    return calls


def test_bases():
    assert issubclass(M3Embedding, BaseEmbedding)
    assert issubclass(M3SparseEmbedding, BaseSparseEmbedding)
    assert M3Embedding.class_name() == "M3Embedding"
    assert M3SparseEmbedding.class_name() == "M3SparseEmbedding"


def test_text_embeddings_equal_the_dense_vectors_of_the_model(tiny):
    found = M3Embedding(model=tiny).get_text_embedding_batch(TEXTS)
    assert found == tiny.encode(TEXTS).dense.tolist()
    assert {type(number) for vector in found for number in vector} == {float}


def test_a_query_is_embedded_like_a_text(tiny):
    embedding = M3Embedding(model=tiny)
    query = embedding.get_query_embedding(TEXTS[0])
    assert query == pytest.approx(embedding.get_text_embedding(TEXTS[0]), abs=1e-6)
    assert {type(number) for number in query} == {float}


async def test_async_equals_sync(tiny):
    embedding = M3Embedding(model=tiny, embed_batch_size=4)
    assert await embedding.aget_text_embedding_batch(TEXTS) == embedding.get_text_embedding_batch(
        TEXTS
    )
    assert await embedding.aget_query_embedding("fern") == embedding.get_query_embedding("fern")
    assert await embedding.aget_text_embedding("fern") == embedding.get_text_embedding("fern")


def test_sync_calls_use_the_batch_size(fresh, monkeypatch):
    calls = record(fresh, monkeypatch)
    M3Embedding(model=fresh, embed_batch_size=8).get_text_embedding_batch(TWENTY)
    assert calls == {"encode": [8, 8, 4], "aencode": []}


@pytest.mark.parametrize("kind", [M3Embedding, M3SparseEmbedding])
async def test_async_calls_use_the_batch_size(fresh, monkeypatch, kind):
    calls = record(fresh, monkeypatch)
    await kind(model=fresh, embed_batch_size=8).aget_text_embedding_batch(TWENTY)
    assert calls == {"encode": [], "aencode": [8, 8, 4]}


async def test_embedding_does_not_block_the_event_loop(fresh, monkeypatch):
    passes_need_the_loop(fresh, monkeypatch)
    assert len(await M3Embedding(model=fresh).aget_text_embedding_batch(TWENTY)) == 20


@pytest.mark.parametrize("kind", [M3Embedding, M3SparseEmbedding])
def test_fields_restore_the_component(tiny, kind):
    embedding = kind(model=tiny, embed_batch_size=7)
    saved = json.loads(json.dumps(embedding.model_dump()))
    again = kind(**saved)
    assert again.model_dump() == embedding.model_dump()
    expected = pytest.approx(embedding.get_query_embedding("fern"), abs=1e-5)
    assert again.get_query_embedding("fern") == expected


def test_settings_that_change_vectors_are_saved(tiny):
    saved = M3Embedding(model=tiny).to_dict()
    assert saved["class_name"] == "M3Embedding"
    assert saved["model_name"] == "tiny"
    assert saved["dtype"] == "float32"
    assert saved["max_length"] == tiny.max_length
    assert saved["fingerprint"] == tiny.fingerprint


@pytest.mark.filterwarnings("ignore:1 of 1 texts was cut")
async def test_max_length_cuts_texts(tiny):
    embedding = M3Embedding(model=tiny, max_length=8)
    text = "one two three four five six seven eight nine ten"
    expected = tiny.encode([text], max_length=8).dense[0].tolist()
    assert embedding.get_text_embedding(text) == expected
    assert await embedding.aget_query_embedding(text) == expected
    assert embedding.to_dict()["max_length"] == 8


@pytest.mark.parametrize("kind", [M3Embedding, M3SparseEmbedding])
def test_pickling_stores_the_fields_and_not_the_model(tiny, kind):
    state = ForkingPickler.dumps(kind(model=tiny))
    assert len(state) < 5_000
    expected = pytest.approx(kind(model=tiny).get_query_embedding("x"), abs=1e-5)
    assert ForkingPickler.loads(state).get_query_embedding("x") == expected


@pytest.mark.parametrize("kind", [M3Embedding, M3SparseEmbedding])
def test_copies_share_the_model(tiny, kind):
    assert copy.deepcopy(kind(model=tiny)).model is tiny
    assert copy.copy(kind(model=tiny)).model is tiny


def test_another_model_under_the_same_name_is_an_error():
    embedding = M3Embedding(model="tiny", fingerprint="0123")
    with pytest.raises(ModelMismatchError, match=r"'tiny' has the fingerprint \w+ here, and 0123"):
        embedding.get_query_embedding("x")


def test_the_same_name_is_the_same_model():
    assert M3Embedding(model="tiny").model is M3SparseEmbedding(model="tiny").model


def test_the_default_is_the_shared_model(monkeypatch, tiny):
    names = []

    def load(kind, name, *settings):
        names.append(name)
        return tiny

    monkeypatch.setattr(shared, "_shared", load)
    assert M3Embedding().model is tiny
    assert names == ["BAAI/bge-m3"]


def test_the_model_is_loaded_on_first_use(monkeypatch):
    monkeypatch.setattr(shared, "_shared", None)
    M3Embedding()
    M3SparseEmbedding()
    sparse_encoder()


def test_dense_embeddings_send_events(tiny, listener):
    M3Embedding(model=tiny, embed_batch_size=2).get_text_embedding_batch(["a", "b", "c"])
    assert [event.chunks for event in listener.of(EmbeddingEndEvent)] == [["a", "b"], ["c"]]


def test_sparse_embeddings_send_events(tiny, listener):
    weights = M3SparseEmbedding(model=tiny).get_text_embedding("Ferns like shade.")
    (event,) = listener.of(SparseEmbeddingEndEvent)
    assert event.chunks == ["Ferns like shade."]
    assert event.embeddings == [weights]


def test_threads_get_the_same_vectors(fresh):
    embedding = M3Embedding(model=fresh)
    texts = [f"{i} " + "watering " * (i % 40) for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(embedding.get_text_embedding, texts))
    expected = M3Embedding(model="tiny", dtype="float32").get_text_embedding_batch(texts)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_sparse_embeddings_equal_the_term_weights_of_the_model(tiny):
    found = M3SparseEmbedding(model=tiny).get_text_embedding_batch(TEXTS)
    assert found == list(tiny.encode(TEXTS).sparse)
    assert {type(x) for row in found for pair in row.items() for x in pair} == {int, float}


async def test_sparse_async_equals_sync(tiny):
    sparse = M3SparseEmbedding(model=tiny, embed_batch_size=4)
    assert await sparse.aget_text_embedding_batch(TEXTS) == sparse.get_text_embedding_batch(TEXTS)
    assert await sparse.aget_query_embedding("fern") == sparse.get_query_embedding("fern")
    assert await sparse.aget_text_embedding("fern") == sparse.get_text_embedding("fern")


def test_sparse_similarity_is_the_sum_of_products(tiny):
    sparse = M3SparseEmbedding(model=tiny)
    assert sparse.similarity({1: 0.5, 2: 2.0, 3: 1.0}, {2: 0.25, 3: 4.0, 9: 1.0}) == 4.5
    assert sparse.similarity({1: 1.0}, {}) == 0


def test_dense_and_sparse_together_need_one_pass(fresh):
    M3Embedding(model=fresh).get_text_embedding_batch(TWENTY)
    M3SparseEmbedding(model=fresh).get_text_embedding_batch(TWENTY)
    assert fresh.encoded == len(TWENTY)


def test_the_sparse_encoder_returns_lists(tiny):
    indices, values = sparse_encoder(tiny)(["Ferns like shade.", ""])
    assert indices[1] == values[1] == []
    assert (
        dict(zip(indices[0], values[0], strict=True))
        == tiny.encode(["Ferns like shade."]).sparse[0]
    )
    assert {type(i) for i in indices[0]} == {int}
    assert {type(v) for v in values[0]} == {float}


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")
def test_hybrid_search_in_qdrant_needs_one_pass_per_text_and_query(fresh, nodes):
    qdrant_client = pytest.importorskip("qdrant_client")
    qdrant = pytest.importorskip("llama_index.vector_stores.qdrant")
    encode = sparse_encoder(fresh)
    for i, node in enumerate(nodes):
        node.id_ = f"00000000-0000-0000-0000-{i:012d}"
    store = qdrant.QdrantVectorStore(
        "kb",
        client=qdrant_client.QdrantClient(":memory:"),
        enable_hybrid=True,
        sparse_doc_fn=encode,
        sparse_query_fn=encode,
    )
    index = VectorStoreIndex(
        nodes,
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=M3Embedding(model=fresh),
    )
    assert fresh.encoded == len(nodes)
    retriever = index.as_retriever(
        vector_store_query_mode="hybrid", similarity_top_k=2, sparse_top_k=2
    )
    found = retriever.retrieve("soil moisture sensor")
    assert found[0].text.startswith("A soil moisture sensor")
    assert fresh.encoded == len(nodes) + 1


class Function:
    """A stand-in for LlamaIndex's abstract `BaseSparseEmbeddingFunction`."""


@pytest.fixture
def milvus(monkeypatch):
    """`m3rag.llama_index.milvus`, with a stand-in for LlamaIndex's Milvus package."""
    for name in ("llama_index.vector_stores.milvus", "llama_index.vector_stores.milvus.utils"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules[name].BaseSparseEmbeddingFunction = Function
    monkeypatch.delitem(sys.modules, "m3rag.llama_index.milvus", raising=False)
    yield import_module("m3rag.llama_index.milvus")
    sys.modules.pop("m3rag.llama_index.milvus", None)


async def test_the_function_for_milvus(tiny, milvus):
    assert doctest.testmod(milvus).failed == 0
    function = milvus.M3SparseEmbeddingFunction(tiny)
    expected = list(tiny.encode(TEXTS[:3]).sparse)
    assert isinstance(function, Function)
    assert function.encode_documents(TEXTS[:3]) == function.encode_queries(TEXTS[:3]) == expected
    assert await function.async_encode_queries(TEXTS[:3]) == expected
    assert await function.async_encode_documents(TEXTS[:3]) == expected


def test_without_milvus_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "llama_index.vector_stores.milvus", None)
    monkeypatch.delitem(sys.modules, "m3rag.llama_index.milvus", raising=False)
    with pytest.raises(MissingExtraError, match=r'pip install "m3rag\[llama-index-milvus\]"'):
        import_module("m3rag.llama_index.milvus")
