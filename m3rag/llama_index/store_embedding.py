"""The embedding model of a vector store, which leaves the store's own nodes to the store."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from llama_index.core.base.embeddings.base import Embedding
from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import TransformComponent
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from m3rag.frameworks import ModelLike
from m3rag.llama_index.embeddings import M3Embedding


class StoresNodes(BasePydanticVectorStore):
    """The base of a vector store that encodes nodes itself, whatever their embeddings."""


class M3QueryEmbedding(M3Embedding):
    """An `M3Embedding` that leaves nodes to `M3VectorStore`, which encodes them for all channels.

    A `VectorStoreIndex` or an `IngestionPipeline` over an `M3VectorStore` gets an empty list for
    each node, so that every node is encoded once. Everything else, such as a semantic splitter, an
    evaluator or another vector store, gets vectors.
    """

    def __init__(self, *, model: ModelLike = None, **settings: Any) -> None:
        super().__init__(model=model, **settings)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex saves the component."""
        return "M3QueryEmbedding"

    def get_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Embedding]:
        """Return the vectors of texts, or an empty list for each node of an `M3VectorStore`."""
        if _is_for_a_store(sys._getframe(1), self):
            return [[] for _ in texts]
        return super().get_text_embedding_batch(texts, show_progress, **kwargs)

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Embedding]:
        """Return the vectors of texts, or an empty list for each node of an `M3VectorStore`."""
        if _is_for_a_store(sys._getframe(1), self):
            return [[] for _ in texts]
        return await super().aget_text_embedding_batch(texts, show_progress, **kwargs)


def _is_for_a_store(frame: FrameType | None, model: M3QueryEmbedding) -> bool:
    """Return whether the nearest component among the callers hands its vectors to our store.

    LlamaIndex tells an embedding model nothing but the texts. If it hides the caller, as in a
    worker process, the answer is no and the model embeds: slower, never wrong.
    """
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, VectorStoreIndex | IngestionPipeline):
            return isinstance(owner.vector_store, StoresNodes)
        if isinstance(owner, TransformComponent) and owner is not model:
            return False  # a splitter or an extractor, which works with the vectors
        frame = frame.f_back
    return False
