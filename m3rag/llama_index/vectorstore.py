"""A LlamaIndex vector store over an index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from m3rag.errors import InputError
from m3rag.index import M3Index
from m3rag.index.manifest import ColbertMode
from m3rag.llama_index.component import ModelLike, open_index
from m3rag.llama_index.embeddings import M3Embedding
from m3rag.llama_index.given_vectors import checked_passages
from m3rag.llama_index.metadata_filters import Where, all_of, where_of
from m3rag.llama_index.nodes import node_of, passage_of
from m3rag.llama_index.querying import OPTIONS, hits_of
from m3rag.llama_index.store_embedding import M3QueryEmbedding, StoresNodes
from m3rag.threads import in_thread

_EVERYTHING = {"$not": {"id": ""}}


class M3VectorStore(StoresNodes):
    """A vector store over an `M3Index`, for `VectorStoreIndex` and `IngestionPipeline`.

    Example:
        >>> store = M3VectorStore(M3Index.open(model=M3Model.load("tiny")))
        >>> index = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)
        >>> index.insert_nodes([TextNode(text="Ferns like shade.")])
        >>> retriever = index.as_retriever(vector_store_query_mode="hybrid")
        >>> retriever.retrieve("Who likes shade?")[0].text
        'Ferns like shade.'

    The query modes and their scores:

        default       dense
        sparse        the term weights; returns `sparse_top_k` or `similarity_top_k` nodes
        text_search   BM25
        hybrid        alpha * dense + (1 - alpha) * sparse; without alpha, `weights` over dense,
                      sparse and ColBERT; returns `hybrid_top_k` or `similarity_top_k` nodes
        mmr           dense, choosing nodes unlike those chosen before

    In the modes default and mmr, the embedding of the query is used if it has one, else its text.
    `vector_store_kwargs` of a retriever may contain `weights`, `fusion`, `candidates`,
    `mmr_threshold` (0 to 1, 0.5 by default) and `mmr_prefetch_k`. LlamaIndex's retriever returns
    one score per node; `M3EnsembleRetriever(store.index)` returns all scores.

    Args:
        index: The index that stores the nodes; by default an index in memory with the process's
            shared BGE-M3.
        settings: The fields.

    Attributes:
        weights: The weights of the mode hybrid without alpha.
        fusion: The fusion of the mode hybrid: "weighted" or "rrf".
        candidates: The number of candidates that each channel retrieves in the mode hybrid.
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
        """Return a store with nodes, in a folder or in memory; see `M3Index.open`."""
        store = cls(open_index(model, path, colbert), **settings)
        store.add(nodes)
        return store

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex saves the component."""
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
        """The `embed_model` for LlamaIndex: an `M3Embedding` that leaves nodes to the store.

        A plain `M3Embedding` also works, but encodes each node a second time.
        """
        return M3QueryEmbedding(model=self._index.model)

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Encode and store nodes; a node replaces a stored one with the same id.

        Raises:
            InputError: A node was embedded by another model, so queries would not match it.
        """
        if any(node.embedding for node in nodes):
            return self._index.add(checked_passages(self._index, nodes))
        return self._index.add([passage_of(node) for node in nodes])

    def delete(self, ref_doc_id: str, **kwargs: Any) -> None:
        """Delete all nodes of a source document."""
        self._index.delete(filter={"document_id": ref_doc_id})

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **kwargs: Any,
    ) -> None:
        """Delete the nodes that have one of the ids and match the filters.

        Raises:
            InputError: Neither ids nor filters are given; use `clear` to delete all nodes.
        """
        where = _where(node_ids, filters)
        if where is None:
            raise InputError("`delete_nodes` needs ids or filters. clear() deletes all nodes.")
        self._index.delete(filter=where)

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Return the nodes that have one of the ids, in their order, and match the filters.

        Returns all nodes if neither ids nor filters are given.
        """
        found = {p.id: p for p in self._index.passages(_where(node_ids, filters))}
        order = found if node_ids is None else [i for i in dict.fromkeys(node_ids) if i in found]
        return [node_of(found[i]) for i in order]

    def clear(self) -> None:
        """Delete all nodes."""
        self._index.delete(filter=_EVERYTHING)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the nodes that match a query best, best first.

        Raises:
            InputError: The mode, an option or a filter is not supported.
        """
        unknown = [option for option in kwargs if option not in OPTIONS]
        if unknown:
            raise InputError(f"Unknown option {unknown[0]!r}. Options are {', '.join(OPTIONS)}.")
        defaults = {"weights": self.weights, "fusion": self.fusion, "candidates": self.candidates}
        hits = hits_of(self._index, query, {**defaults, **kwargs})
        return VectorStoreQueryResult(
            nodes=[node_of(hit.passage) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.passage.id for hit in hits],
        )

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Run `add` in a thread."""
        return await in_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **kwargs: Any) -> None:
        """Run `delete` in a thread."""
        await in_thread(self.delete, ref_doc_id, **kwargs)

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **kwargs: Any,
    ) -> None:
        """Run `delete_nodes` in a thread."""
        await in_thread(self.delete_nodes, node_ids, filters, **kwargs)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Run `get_nodes` in a thread."""
        return await in_thread(self.get_nodes, node_ids, filters)

    async def aclear(self) -> None:
        """Run `clear` in a thread."""
        await in_thread(self.clear)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Run `query` in a thread."""
        return await in_thread(self.query, query, **kwargs)


def _where(node_ids: list[str] | None, filters: MetadataFilters | None) -> Where | None:
    return all_of(None if node_ids is None else {"id": node_ids}, where_of(filters))
