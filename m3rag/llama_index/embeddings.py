"""Dense and sparse embeddings for LlamaIndex, both from one forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict, Unpack

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding, SparseEmbedding
from llama_index.core.bridge.pydantic import Field

from m3rag.encoding import Encoding
from m3rag.frameworks import ModelLike, model_of, refusing
from m3rag.llama_index.component import UsesModel

SparseEncoder = Callable[[list[str]], tuple[list[list[int]], list[list[float]]]]

_BATCH = 64  # texts per call; the model packs them into forward passes


class _Views(TypedDict, total=False):
    """The views to compute; all by default."""

    dense: bool
    sparse: bool
    colbert: bool


class _Encodes(UsesModel):
    """The base of both embedding models, with the text length and the batch size."""

    max_length: int | None = Field(default=None, description="The most tokens of a text to encode.")
    embed_batch_size: int = Field(default=_BATCH, gt=0, le=2048)

    def __init__(self, *, model: ModelLike = None, **settings: Any) -> None:
        super().__init__(model=model, **settings)
        if self.max_length is None:  # a worker process must use the same limit
            self.max_length = getattr(self._held.model, "max_length", None)

    def _encoded(self, texts: list[str], **views: Unpack[_Views]) -> Encoding:
        return self.model.encode(texts, max_length=self.max_length, **views)

    async def _aencoded(self, texts: list[str], **views: Unpack[_Views]) -> Encoding:
        return await self.model.aencode(texts, max_length=self.max_length, **views)


class M3Embedding(_Encodes, BaseEmbedding):
    """The dense vectors of an M3 model as a LlamaIndex embedding model.

    Example:
        >>> embed_model = M3Embedding(model="tiny")
        >>> len(embed_model.get_query_embedding("Where do I put my fern?"))
        256

    Its settings are fields, so it can be saved with `to_dict` and sent to the worker processes of
    an `IngestionPipeline`, which load the model by name.

    Args:
        model: An `M3Model`, or a name for `M3Model.load`; the process's shared BGE-M3 by default.
        settings: The fields, such as `max_length`, `embed_batch_size`, `revision`, `dtype`.
    """

    def __init__(self, *, model: ModelLike = None, **settings: Any) -> None:
        super().__init__(model=model, **settings)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex saves the component."""
        return "M3Embedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        # Encode all views: a sparse encoder, store or reranker then finds them in the memo.
        return _floats(self._encoded([query]).dense[0])

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return _floats((await self._aencoded([query])).dense[0])

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        encoding = self._encoded(texts, sparse=False, colbert=False)
        return [_floats(vector) for vector in encoding.dense]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        encoding = await self._aencoded(texts, sparse=False, colbert=False)
        return [_floats(vector) for vector in encoding.dense]


class M3SparseEmbedding(_Encodes, BaseSparseEmbedding):
    """The term weights of an M3 model as a LlamaIndex sparse embedding model.

    Example:
        >>> sparse = M3SparseEmbedding(model="tiny")
        >>> query, text = sparse.get_text_embedding_batch(["shade", "Ferns like shade."])
        >>> sparse.similarity(query, text) > 0
        True

    Args:
        model: An `M3Model`, or a name for `M3Model.load`; the process's shared BGE-M3 by default.
        settings: The fields, such as `max_length`, `embed_batch_size`, `revision`, `dtype`.
    """

    def __init__(self, *, model: ModelLike = None, **settings: Any) -> None:
        super().__init__(model=model, **settings)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex saves the component."""
        return "M3SparseEmbedding"

    def similarity(self, embedding1: SparseEmbedding, embedding2: SparseEmbedding) -> float:
        """Return the sum of weight products over common tokens, as the weights were trained.

        LlamaIndex's default divides by the lengths of both vectors.
        """
        return sum(w * embedding2[token] for token, w in embedding1.items() if token in embedding2)

    def _get_query_embedding(self, query: str) -> SparseEmbedding:
        return self._encoded([query]).sparse[0]

    async def _aget_query_embedding(self, query: str) -> SparseEmbedding:
        return (await self._aencoded([query])).sparse[0]

    def _get_text_embedding(self, text: str) -> SparseEmbedding:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> SparseEmbedding:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[SparseEmbedding]:
        return list(self._encoded(texts, dense=False, colbert=False).sparse)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[SparseEmbedding]:
        return list((await self._aencoded(texts, dense=False, colbert=False)).sparse)


@refusing
def sparse_encoder(model: ModelLike = None) -> SparseEncoder:
    """Return the sparse function for documents and queries of LlamaIndex's Qdrant store.

    Example:
        >>> indices, values = sparse_encoder("tiny")(["Ferns like shade.", "Cacti like sun."])
        >>> [len(row) for row in indices] == [len(row) for row in values]
        True

    Pass it twice: `QdrantVectorStore(…, enable_hybrid=True, sparse_doc_fn=encode,
    sparse_query_fn=encode)`.

    Args:
        model: The model of the `M3Embedding`, so that a text that has just been embedded needs no
            second forward pass.

    Returns:
        A function from texts to their token ids and weights.
    """

    def encode(texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
        sparse = model_of(model).encode(texts, dense=False, colbert=False).sparse
        rows = [sparse.rows(i) for i in range(len(sparse))]
        return [ids.tolist() for ids, _ in rows], [weights.tolist() for _, weights in rows]

    return encode


def _floats(vector: Any) -> list[float]:
    floats: list[float] = vector.tolist()
    return floats
