"""The sparse embedding function for LlamaIndex's Milvus store."""

from __future__ import annotations

from m3rag.extras import require
from m3rag.threads import in_thread

require("llama_index.vector_stores.milvus", "llama-index-milvus")

from llama_index.vector_stores.milvus.utils import BaseSparseEmbeddingFunction

from m3rag.frameworks import ModelLike, model_of, refusing


class M3SparseEmbeddingFunction(BaseSparseEmbeddingFunction):
    """The term weights of an M3 model, for `MilvusVectorStore`.

    Example:
        >>> function = M3SparseEmbeddingFunction("tiny")
        >>> len(function.encode_documents(["Ferns like shade.", "Cacti like sun."]))
        2

    Pass it as `MilvusVectorStore(…, enable_sparse=True, sparse_embedding_function=function)`.

    Args:
        model: The model of the `M3Embedding` or its name, so that a text that has just been
            embedded needs no second forward pass; the process's shared BGE-M3 by default.
    """

    @refusing
    def __init__(self, model: ModelLike = None) -> None:
        self.model = model_of(model)

    def encode_queries(self, queries: list[str]) -> list[dict[int, float]]:
        """Return the term weights of each query, `{token id: weight}`."""
        return list(self.model.encode(queries, dense=False, colbert=False).sparse)

    def encode_documents(self, documents: list[str]) -> list[dict[int, float]]:
        """Return the term weights of each document, `{token id: weight}`."""
        return self.encode_queries(documents)

    async def async_encode_queries(self, queries: list[str]) -> list[dict[int, float]]:
        """Run `encode_queries` without blocking the event loop."""
        return await in_thread(self.encode_queries, queries)

    async def async_encode_documents(self, documents: list[str]) -> list[dict[int, float]]:
        """Run `encode_documents` without blocking the event loop."""
        return await in_thread(self.encode_documents, documents)
