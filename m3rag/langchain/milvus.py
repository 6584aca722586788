"""Sparse embeddings for `langchain_milvus.Milvus`."""

from __future__ import annotations

from m3rag.extras import require

require("langchain_milvus", "milvus")

from langchain_milvus.utils.sparse import BaseSparseEmbedding

from m3rag.frameworks import ModelLike, model_of, refusing
from m3rag.frameworks.models import checked_length
from m3rag.langchain.sharing import SharesModel


class M3SparseEmbedding(SharesModel, BaseSparseEmbedding):
    """The term weights of an M3 model, for a sparse field of Milvus.

    Together with `M3Embeddings` of the same model, as in
    `Milvus(embedding_function=[dense, sparse])`, each text needs only one forward pass.

    Example:
        >>> weights = M3SparseEmbedding("tiny").embed_query("fern fern")
        >>> all(isinstance(token, int) and weight > 0 for token, weight in weights.items())
        True

    Args:
        model: A model, or the name of the process's shared model; BAAI/bge-m3 by default.
        max_length: The most tokens of a text to encode; the model's limit by default.

    Raises:
        ArgumentError: An argument does not exist.
        InputError: The model or `max_length` is not valid.
    """

    @refusing
    def __init__(self, model: ModelLike = None, *, max_length: int | None = None) -> None:
        self.model = model_of(model)
        self.max_length = checked_length(max_length)

    def embed_documents(self, texts: list[str]) -> list[dict[int, float]]:
        """Return the term weights of each text, `{token id: weight}`."""
        views = self.model.encode(texts, dense=False, colbert=False, max_length=self.max_length)
        return list(views.sparse)

    def embed_query(self, query: str) -> dict[int, float]:
        """Return the term weights of a query, `{token id: weight}`."""
        return self.embed_documents([query])[0]

    async def aembed_documents(self, texts: list[str]) -> list[dict[int, float]]:
        """Run `embed_documents` without blocking the event loop."""
        views = await self.model.aencode(
            texts, dense=False, colbert=False, max_length=self.max_length
        )
        return list(views.sparse)

    async def aembed_query(self, query: str) -> dict[int, float]:
        """Run `embed_query` without blocking the event loop."""
        return (await self.aembed_documents([query]))[0]
