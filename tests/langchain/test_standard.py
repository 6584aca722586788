"""LangChain's standard tests."""

import pytest
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests

from m3rag import M3Index
from m3rag.langchain import M3Embeddings, M3EnsembleRetriever, M3SparseRetriever, M3VectorStore


class _Embeddings:
    @property
    def embeddings_class(self):
        return M3Embeddings

    @property
    def embedding_model_params(self):
        return {"model": "tiny"}


class TestEmbeddingsUnit(_Embeddings, EmbeddingsUnitTests):
    pass


class TestEmbeddings(_Embeddings, EmbeddingsIntegrationTests):
    pass


class _Retriever:
    @pytest.fixture(autouse=True)
    def _index(self, shared_index):
        self.index = shared_index

    @property
    def retriever_constructor_params(self):
        return {"index": self.index}

    @property
    def retriever_query_example(self):
        return "the fern likes water and the sun and shade, and soil"


class TestEnsembleRetriever(_Retriever, RetrieversIntegrationTests):
    @property
    def retriever_constructor(self):
        return M3EnsembleRetriever


class TestSparseRetriever(_Retriever, RetrieversIntegrationTests):
    @property
    def retriever_constructor(self):
        return M3SparseRetriever


class TestVectorStoreInMemory(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tiny):
        with M3Index.open(model=tiny) as index:
            yield M3VectorStore(index)


class TestVectorStoreInFolder(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tiny, tmp_path):
        with M3Index.open(tmp_path / "kb", model=tiny) as index:
            yield M3VectorStore(index)


def test_the_example_query_finds_enough_documents(shared_index):
    query = _Retriever().retriever_query_example
    assert len(M3SparseRetriever(index=shared_index).invoke(query)) >= 3
