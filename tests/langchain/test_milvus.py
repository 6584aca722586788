"""Sparse embeddings for Milvus; the store itself needs a server."""

import warnings

import pytest

from m3rag.langchain import M3Embeddings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # warnings from the imports of langchain_milvus
    from langchain_milvus import Milvus
    from langchain_milvus.utils.sparse import BaseSparseEmbedding

    from m3rag.langchain.milvus import M3SparseEmbedding

TEXTS = ["Ferns like shade.", "¿Cómo se riega una planta?", ""]


def test_the_store_recognizes_sparse_embeddings(tiny):
    assert isinstance(M3SparseEmbedding(tiny), BaseSparseEmbedding)
    assert Milvus._is_sparse_embedding(M3SparseEmbedding(tiny))
    assert not Milvus._is_sparse_embedding(M3Embeddings(tiny))


async def test_weights_equal_those_of_the_model(tiny):
    embedding = M3SparseEmbedding(tiny)
    expected = list(tiny.encode(TEXTS).sparse)
    assert embedding.embed_documents(TEXTS) == expected
    assert await embedding.aembed_documents(TEXTS) == expected
    assert embedding.embed_query(TEXTS[0]) == await embedding.aembed_query(TEXTS[0]) == expected[0]
    assert all(type(t) is int and type(w) is float for t, w in expected[0].items())


def test_dense_and_sparse_together_need_one_pass(fresh):
    for embed in (M3Embeddings(fresh).embed_documents, M3SparseEmbedding(fresh).embed_documents):
        embed(TEXTS)
    assert fresh.encoded == len(TEXTS)


@pytest.mark.parametrize("query", TEXTS[:2])
def test_a_query_of_both_needs_one_pass(fresh, query):
    M3Embeddings(fresh).embed_query(query)
    M3SparseEmbedding(fresh).embed_query(query)
    assert fresh.encoded == 1
