"""The sparse side of `langchain_milvus.Milvus`."""

from __future__ import annotations

from pathlib import Path

from m3rag.extras import require

require("langchain_milvus", "milvus")

from langchain_milvus.utils.sparse import BaseSparseEmbedding

from m3rag.encoder import Model
from m3rag.model.shared import model_of


class M3SparseEmbedding(BaseSparseEmbedding):
    """The learned term weights of an M3 model, for a sparse field of Milvus.

    Give it beside `M3Embeddings` of the same model, `Milvus(embedding_function=[dense, sparse])`,
    and each text costs one pass.

    Example:
        >>> weights = M3SparseEmbedding("tiny").embed_query("fern fern")
        >>> all(isinstance(token, int) and weight > 0 for token, weight in weights.items())
        True

    Args:
        model: A model, or the name of one to share in this process; BAAI/bge-m3 by default.
        max_length: The most tokens to encode of a text; the model's own limit by default.
    """

    def __init__(
        self, model: Model | str | Path | None = None, *, max_length: int | None = None
    ) -> None:
        self.model = model_of(model)
        self.max_length = max_length

    def embed_documents(self, texts: list[str]) -> list[dict[int, float]]:
        """`{token id: weight}` of each text."""
        views = self.model.encode(texts, dense=False, colbert=False, max_length=self.max_length)
        return list(views.sparse)

    def embed_query(self, query: str) -> dict[int, float]:
        """`{token id: weight}` of a text."""
        return self.embed_documents([query])[0]

    async def aembed_documents(self, texts: list[str]) -> list[dict[int, float]]:
        """`embed_documents`, without blocking the event loop."""
        views = await self.model.aencode(
            texts, dense=False, colbert=False, max_length=self.max_length
        )
        return list(views.sparse)

    async def aembed_query(self, query: str) -> dict[int, float]:
        """`embed_query`, without blocking the event loop."""
        return (await self.aembed_documents([query]))[0]
