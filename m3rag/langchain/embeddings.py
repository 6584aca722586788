"""Dense vectors for LangChain."""

from __future__ import annotations

from pathlib import Path

from langchain_core.embeddings import Embeddings

from m3rag.encoder import Model
from m3rag.model.shared import model_of


class M3Embeddings(Embeddings):
    """The dense view of an M3 model.

    Queries and documents are encoded alike: BGE-M3 knows no instructions. What was asked for
    lately is remembered by the model, so a sparse wrapper of the same model costs no second pass.

    Example:
        >>> embeddings = M3Embeddings("tiny")
        >>> len(embeddings.embed_query("Where do I put my fern?"))
        256

    Args:
        model: A model, or the name of one to share in this process; BAAI/bge-m3 by default.
        max_length: The most tokens to encode of a text; the model's own limit by default.
    """

    def __init__(
        self, model: Model | str | Path | None = None, *, max_length: int | None = None
    ) -> None:
        self.model = model_of(model)
        self.max_length = max_length

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One unit vector a text."""
        views = self.model.encode(texts, sparse=False, colbert=False, max_length=self.max_length)
        vectors: list[list[float]] = views.dense.tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The unit vector of a text."""
        # All views: the sparse wrapper, index or reranker that is asked next finds them there.
        vector: list[float] = (
            self.model.encode([text], max_length=self.max_length).dense[0].tolist()
        )
        return vector

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """`embed_documents`, without blocking the event loop."""
        views = await self.model.aencode(
            texts, sparse=False, colbert=False, max_length=self.max_length
        )
        vectors: list[list[float]] = views.dense.tolist()
        return vectors

    async def aembed_query(self, text: str) -> list[float]:
        """`embed_query`, without blocking the event loop."""
        views = await self.model.aencode([text], max_length=self.max_length)
        vector: list[float] = views.dense[0].tolist()
        return vector

    def __repr__(self) -> str:
        return f"M3Embeddings({self.model.name!r})"
