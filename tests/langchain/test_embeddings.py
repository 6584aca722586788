"""Dense embeddings, and sparse embeddings for Qdrant."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.documents import Document
from langchain_qdrant import QdrantVectorStore, RetrievalMode, SparseEmbeddings
from qdrant_client import QdrantClient, models

from m3rag import shared_model
from m3rag.errors import InputError, TruncationWarning
from m3rag.langchain import M3Embeddings
from m3rag.langchain.qdrant import M3SparseEmbeddings
from tests.conftest import TEXTS, passes_need_the_loop

TEXTS = TEXTS[:12]


async def test_vectors_equal_those_of_the_model(tiny):
    embeddings = M3Embeddings(tiny)
    expected = tiny.encode(TEXTS).dense.tolist()
    assert embeddings.embed_documents(TEXTS) == expected
    assert await embeddings.aembed_documents(TEXTS) == expected
    assert embeddings.embed_query(TEXTS[0]) == expected[0]
    assert await embeddings.aembed_query(TEXTS[0]) == expected[0]


def test_no_texts(tiny):
    assert M3Embeddings(tiny).embed_documents([]) == []
    assert M3SparseEmbeddings(tiny).embed_documents([]) == []


def test_the_default_is_the_shared_model(monkeypatch, tiny):
    names = []

    def load(*name):
        names.append(name)
        return tiny

    monkeypatch.setattr("m3rag.model.shared.shared_model", load)
    assert M3Embeddings().model is M3Embeddings("some/model").model is tiny
    assert names == [(), ("some/model",)]


def test_a_model_by_name_is_shared():
    assert M3Embeddings("tiny").model is shared_model("tiny")
    assert repr(M3Embeddings("tiny")) == "M3Embeddings('tiny')"


@pytest.mark.parametrize("kind", [M3Embeddings, M3SparseEmbeddings])
def test_max_length(tiny, kind):
    embeddings = kind(tiny, max_length=8)
    with pytest.warns(TruncationWarning, match="cut to 8 tokens"):
        cut = embeddings.embed_query("one two three four five six seven eight nine ten")
    assert cut != kind(tiny).embed_query("one two three four five six seven eight nine ten")


def test_an_invalid_max_length(tiny):
    with pytest.raises(InputError, match="max_length=1 is out of range"):
        M3Embeddings(tiny, max_length=1).embed_query("a")


def test_threads_get_the_same_vectors(tiny):
    embeddings = M3Embeddings(tiny)
    texts = [f"{text} {'word ' * (i % 40)}" for i in range(4) for text in TEXTS]
    expected = embeddings.embed_documents(texts)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(embeddings.embed_query, texts))
    assert [pytest.approx(vector, abs=1e-5) for vector in expected] == found


@pytest.mark.parametrize("kind", [M3Embeddings, M3SparseEmbeddings])
async def test_the_event_loop_stays_free(fresh, kind, monkeypatch):
    passes_need_the_loop(fresh, monkeypatch)
    assert len(await kind(fresh).aembed_documents(TEXTS)) == len(TEXTS)


async def test_sparse_vectors_equal_those_of_the_model(tiny):
    embeddings = M3SparseEmbeddings(tiny)
    assert isinstance(embeddings, SparseEmbeddings)
    expected = list(tiny.encode(TEXTS).sparse)
    found = embeddings.embed_documents(TEXTS)
    assert [dict(zip(v.indices, v.values, strict=True)) for v in found] == expected
    assert await embeddings.aembed_documents(TEXTS) == found
    assert embeddings.embed_query(TEXTS[1]) == await embeddings.aembed_query(TEXTS[1]) == found[1]


@pytest.fixture
def qdrant(fresh):
    client = QdrantClient(":memory:")
    client.create_collection(
        "kb",
        vectors_config=models.VectorParams(size=fresh.dim, distance=models.Distance.COSINE),
        sparse_vectors_config={"sparse": models.SparseVectorParams()},
    )
    yield QdrantVectorStore(
        client,
        "kb",
        embedding=M3Embeddings(fresh),
        sparse_embedding=M3SparseEmbeddings(fresh),
        retrieval_mode=RetrievalMode.HYBRID,
        sparse_vector_name="sparse",
    )
    client.close()


def test_hybrid_in_qdrant_needs_one_pass_per_text_and_query(fresh, qdrant):
    before = fresh.encoded
    qdrant.add_documents([Document(f"{text} {i}") for i, text in enumerate(TEXTS)])
    assert fresh.encoded - before == len(TEXTS)
    found = qdrant.similarity_search("soil moisture sensors in Spanish", k=3)
    assert len(found) == 3
    assert fresh.encoded - before == len(TEXTS) + 1


async def test_hybrid_in_qdrant_from_an_event_loop(fresh, qdrant):
    before = fresh.encoded
    await asyncio.to_thread(qdrant.add_texts, ["Ferns like shade.", "Cacti like the sun."])
    found = await asyncio.to_thread(qdrant.similarity_search, "Where do ferns grow?", 1)
    assert found[0].page_content == "Ferns like shade."
    assert fresh.encoded - before == 3
