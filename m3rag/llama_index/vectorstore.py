"""An M3Index as a LlamaIndex vector store: every query mode, over one model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from m3rag.errors import InputError
from m3rag.index import M3Index
from m3rag.index.manifest import ColbertMode
from m3rag.llama_index.component import ModelLike, open_index
from m3rag.llama_index.embeddings import M3Embedding
from m3rag.llama_index.metadata_filters import Where, all_of, where_of
from m3rag.llama_index.nodes import node_of, passage_of
from m3rag.llama_index.querying import OPTIONS, hits_of

_SAME = 0.98  # cosine; 16-bit models differ from 32-bit ones by less
_EVERYTHING = {"$not": {"id": ""}}


class M3VectorStore(BasePydanticVectorStore):
    """Nodes in an `M3Index`, for `VectorStoreIndex` and `IngestionPipeline`.

    Example:
        >>> store = M3VectorStore(M3Index.open(model=M3Model.load("tiny")))
        >>> index = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)
        >>> index.insert_nodes([TextNode(text="Ferns like shade.")])
        >>> retriever = index.as_retriever(vector_store_query_mode="hybrid")
        >>> retriever.retrieve("Who likes shade?")[0].text
        'Ferns like shade.'

    The modes, and what is scored in them:

        default       dense
        sparse        the learned term weights; the first `sparse_top_k` or `similarity_top_k`
        text_search   BM25
        hybrid        alpha * dense + (1 - alpha) * sparse; without alpha, `weights` over dense,
                      sparse and ColBERT; the first `hybrid_top_k` or `similarity_top_k`
        mmr           dense, picking what is unlike the nodes picked before

    In the modes default and mmr an embedding counts if the query has one, else its text.
    `vector_store_kwargs` of a retriever may have `weights`, `fusion`, `candidates`,
    `mmr_threshold` (0 to 1, 0.5 by default) and `mmr_prefetch_k`. LlamaIndex's retriever keeps
    one score a node; `M3EnsembleRetriever(store.index)` gives all.

    Args:
        index: Where nodes are kept; one in memory, of the process's shared BGE-M3, by default.
        settings: The fields.

    Attributes:
        weights: of mode hybrid without alpha.
        fusion: of mode hybrid: "weighted" or "rrf".
        candidates: how many nodes each channel proposes in mode hybrid.
    """

    stores_text: bool = True
    weights: str | list[float] | dict[str, float] = "default"
    fusion: str = "weighted"
    candidates: int | None = None
    _index: M3Index = PrivateAttr()

    def __init__(self, index: M3Index | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self._index = open_index(None, None, None) if index is None else index

    @classmethod
    def from_nodes(
        cls,
        nodes: Sequence[BaseNode],
        *,
        model: ModelLike = None,
        path: str | Path | None = None,
        colbert: ColbertMode | None = None,
        **settings: Any,
    ) -> Self:
        """A store with these nodes, in a folder or in memory; see `M3Index.open`."""
        store = cls(open_index(model, path, colbert), **settings)
        store.add(nodes)
        return store

    @classmethod
    def class_name(cls) -> str:
        """The name it is saved under."""
        return "M3VectorStore"

    @property
    def client(self) -> M3Index:
        """The index."""
        return self._index

    @property
    def index(self) -> M3Index:
        """The index."""
        return self._index

    @property
    def embed_model(self) -> M3Embedding:
        """What to give LlamaIndex as `embed_model`: embeds queries, and leaves nodes to the store.

        An `M3Embedding` would do as well, and encode each node once more.
        """
        return M3QueryEmbedding(model=self._index.model)

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Encode and keep nodes; one whose id exists is replaced.

        Raises:
            InputError: they were embedded by another model, which would be searched in vain.
        """
        self._check_embedding(next((node for node in nodes if node.embedding), None))
        return self._index.add(passage_of(node) for node in nodes)

    def delete(self, ref_doc_id: str, **kwargs: Any) -> None:
        """Forget all nodes of a source document."""
        self._index.delete(filter={"document_id": ref_doc_id})

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **kwargs: Any,
    ) -> None:
        """Forget the nodes that have one of the ids and match.

        Raises:
            InputError: neither ids nor filters; to forget everything there is `clear`.
        """
        where = _where(node_ids, filters)
        if where is None:
            raise InputError("delete_nodes needs node_ids or filters; clear() forgets everything.")
        self._index.delete(filter=where)

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """The nodes that have one of the ids, in their order, and match; all without either."""
        found = {p.id: p for p in self._index.passages(_where(node_ids, filters))}
        order = found if node_ids is None else [i for i in dict.fromkeys(node_ids) if i in found]
        return [node_of(found[i]) for i in order]

    def clear(self) -> None:
        """Forget all nodes."""
        self._index.delete(filter=_EVERYTHING)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The nodes that answer a query best, best first.

        Raises:
            InputError: a mode that is none of the five, an option or a filter that there is not.
        """
        unknown = [option for option in kwargs if option not in OPTIONS]
        if unknown:
            raise InputError(f"No option {unknown[0]!r}; a query has {', '.join(OPTIONS)}.")
        own = {"weights": self.weights, "fusion": self.fusion, "candidates": self.candidates}
        hits = hits_of(self._index, query, {**own, **kwargs})
        return VectorStoreQueryResult(
            nodes=[node_of(hit.passage) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.passage.id for hit in hits],
        )

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """`add` in a thread."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **kwargs: Any) -> None:
        """`delete` in a thread."""
        await asyncio.to_thread(self.delete, ref_doc_id, **kwargs)

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **kwargs: Any,
    ) -> None:
        """`delete_nodes` in a thread."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **kwargs)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """`get_nodes` in a thread."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def aclear(self) -> None:
        """`clear` in a thread."""
        await asyncio.to_thread(self.clear)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """`query` in a thread."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    def _check_embedding(self, node: BaseNode | None) -> None:
        """Refuse a vector that the model would not have given to the node."""
        if node is None or not node.embedding:
            return
        own = self._index.model.encode([node.get_content(MetadataMode.EMBED)]).dense[0]
        given = np.asarray(node.embedding, np.float32)
        if given.shape != own.shape or given @ own < _SAME * float(np.linalg.norm(given)):
            raise InputError(
                f"Node {node.node_id!r} was embedded by another model than {self._index.model!r} "
                f"({len(given)} and {len(own)} numbers): use embed_model=store.embed_model."
            )


class M3QueryEmbedding(M3Embedding):
    """Embeds queries only: an `M3VectorStore` encodes nodes itself, for all channels at once."""

    def __init__(self, *, model: ModelLike = None, **settings: Any) -> None:
        super().__init__(model=model, **settings)

    @classmethod
    def class_name(cls) -> str:
        """The name it is saved under."""
        return "M3QueryEmbedding"

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return [[] for _ in texts]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return [[] for _ in texts]


def _where(node_ids: list[str] | None, filters: MetadataFilters | None) -> Where | None:
    return all_of(None if node_ids is None else {"id": node_ids}, where_of(filters))
