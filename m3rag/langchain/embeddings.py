"""Dense embeddings for LangChain."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from m3rag.frameworks import ModelLike, model_of, refusing
from m3rag.frameworks.models import checked_length
from m3rag.langchain.sharing import SharesModel


class M3Embeddings(SharesModel, Embeddings):
    """The dense vectors of an M3 model.

    Queries and documents are encoded alike, as BGE-M3 uses no instructions. The model keeps recent
    results in its memo, so a sparse wrapper of the same model needs no second forward pass.

    Example:
        >>> embeddings = M3Embeddings("tiny")
        >>> len(embeddings.embed_query("Where do I put my fern?"))
        256

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

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a unit vector for each text."""
        views = self.model.encode(texts, sparse=False, colbert=False, max_length=self.max_length)
        vectors: list[list[float]] = views.dense.tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Return the unit vector of a query."""
        # Encode all views: a sparse wrapper, index or reranker then finds them in the memo.
        vector: list[float] = (
            self.model.encode([text], max_length=self.max_length).dense[0].tolist()
        )
        return vector

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Run `embed_documents` without blocking the event loop."""
        views = await self.model.aencode(
            texts, sparse=False, colbert=False, max_length=self.max_length
        )
        vectors: list[list[float]] = views.dense.tolist()
        return vectors

    async def aembed_query(self, text: str) -> list[float]:
        """Run `embed_query` without blocking the event loop."""
        views = await self.model.aencode([text], max_length=self.max_length)
        vector: list[float] = views.dense[0].tolist()
        return vector

    def __repr__(self) -> str:
        return f"M3Embeddings({self.model.name!r})"
