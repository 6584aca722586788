"""Sparse embeddings for `langchain_qdrant.QdrantVectorStore`."""

from __future__ import annotations

from m3rag.extras import require

require("langchain_qdrant", "qdrant")

from langchain_qdrant import SparseEmbeddings, SparseVector

from m3rag.encoding import Encoding
from m3rag.frameworks import ModelLike, model_of, refusing
from m3rag.frameworks.models import checked_length
from m3rag.langchain.sharing import SharesModel


class M3SparseEmbeddings(SharesModel, SparseEmbeddings):
    """The term weights of an M3 model, for Qdrant's sparse vectors.

    Together with `M3Embeddings` of the same model, each text in a hybrid store needs only one
    forward pass.

    Example:
        >>> vector = M3SparseEmbeddings("tiny").embed_query("fern fern")
        >>> len(vector.indices) == len(vector.values) == len(set(vector.indices))
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

    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        """Return the token ids and weights of each text."""
        return _vectors(
            self.model.encode(texts, dense=False, colbert=False, max_length=self.max_length)
        )

    def embed_query(self, text: str) -> SparseVector:
        """Return the token ids and weights of a query."""
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str]) -> list[SparseVector]:
        """Run `embed_documents` without blocking the event loop."""
        return _vectors(
            await self.model.aencode(texts, dense=False, colbert=False, max_length=self.max_length)
        )

    async def aembed_query(self, text: str) -> SparseVector:
        """Run `embed_query` without blocking the event loop."""
        return (await self.aembed_documents([text]))[0]


def _vectors(views: Encoding) -> list[SparseVector]:
    return [SparseVector(indices=list(w), values=list(w.values())) for w in views.sparse]
