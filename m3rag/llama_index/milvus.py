"""The sparse function that LlamaIndex's Milvus store takes."""

from __future__ import annotations

import asyncio

from m3rag.extras import require

require("llama_index.vector_stores.milvus", "llama-index-milvus")

from llama_index.vector_stores.milvus.utils import BaseSparseEmbeddingFunction

from m3rag.llama_index.component import ModelLike
from m3rag.model.shared import model_of


class M3SparseEmbeddingFunction(BaseSparseEmbeddingFunction):
    """The learned term weights of an M3 model for `MilvusVectorStore`.

    Example:
        >>> function = M3SparseEmbeddingFunction("tiny")
        >>> len(function.encode_documents(["Ferns like shade.", "Cacti like sun."]))
        2

    `MilvusVectorStore(…, enable_sparse=True, sparse_embedding_function=function)`.

    Args:
        model: A model or its name, the same as `M3Embedding` was given: then a text that has just
            been embedded costs no second pass. The process's shared BGE-M3 by default.
    """

    def __init__(self, model: ModelLike = None) -> None:
        self.model = model_of(model)

    def encode_queries(self, queries: list[str]) -> list[dict[int, float]]:
        """The term weights of each query."""
        return list(self.model.encode(queries, dense=False, colbert=False).sparse)

    def encode_documents(self, documents: list[str]) -> list[dict[int, float]]:
        """The term weights of each document."""
        return self.encode_queries(documents)

    async def async_encode_queries(self, queries: list[str]) -> list[dict[int, float]]:
        """`encode_queries`, without blocking the event loop."""
        return await asyncio.to_thread(self.encode_queries, queries)

    async def async_encode_documents(self, documents: list[str]) -> list[dict[int, float]]:
        """`encode_documents`, without blocking the event loop."""
        return await asyncio.to_thread(self.encode_documents, documents)
