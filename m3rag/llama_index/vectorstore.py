"""A LlamaIndex vector store over an index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from m3rag.closing import closed_on_errors
from m3rag.frameworks import (
    OPENING,
    IndexLike,
    ModelLike,
    check_names,
    names_of,
    opening_of,
    own_errors,
)
from m3rag.index.index import M3Index
from m3rag.limits import shown
from m3rag.llama_index.base_filters import base_of
from m3rag.llama_index.collection import NodeCollection
from m3rag.llama_index.component import Checked, OverAnIndex, check_fields, chosen_index
from m3rag.llama_index.embeddings import M3Embedding
from m3rag.llama_index.metadata_filters import where_of
from m3rag.llama_index.nodes import node_of
from m3rag.llama_index.querying import OPTIONS, hits_of
from m3rag.llama_index.store_embedding import M3QueryEmbedding, StoresNodes
from m3rag.threads import in_thread

_EVERYTHING = {"$not": {"$id": ""}}


class M3VectorStore(OverAnIndex, NodeCollection, Checked, StoresNodes):
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
        index: The index that stores the nodes, or what has one: a store, a `VectorStoreIndex` over
            one, a retriever, or the folder of an existing index. By default an index in memory.
        path: The folder of the index, instead of `index`; it is created if it does not exist.
        model: A model, or the name of the process's shared model, for `path` or an index in memory.
            Without one, an existing folder gets its own, and a new index BAAI/bge-m3.
        settings: The fields, and arguments of `M3Index.open`: `colbert`, `context`, `analyzer`,
            `bm25`, `limits` and `create`.

    Attributes:
        weights: The weights of the mode hybrid without alpha.
        fusion: The fusion of the mode hybrid: "weighted" or "rrf".
        candidates: The number of candidates that each channel retrieves in the mode hybrid.
        base_filters: Filters that all nodes match which the store finds, returns, changes, deletes
            or adds. Other filters only narrow them; components made over the store have them too.

    Raises:
        InputError: An argument is unknown or cannot be used.
    """

    stores_text: bool = True
    weights: Any = "default"  # checked by the index, whose error lists the choices
    fusion: Any = "weighted"
    candidates: int | None = None
    base_filters: MetadataFilters | None = None
    _index: M3Index = PrivateAttr()

    def __init__(
        self,
        index: IndexLike | None = None,
        *,
        path: object = None,
        model: ModelLike = None,
        **settings: Any,
    ) -> None:
        what = type(self).__name__
        check_fields(type(self), settings, OPENING)
        opening = opening_of(settings)
        with own_errors(what):
            super().__init__(**settings)
        found, opened = chosen_index(what, index, path, model, opening, in_memory=True)
        with closed_on_errors(found if opened else None):
            self._index = found
            self.base_filters = base_of(index, self.base_filters)

    def __repr__(self) -> str:
        base = f", base_filters={shown(where_of(self.base_filters), 80)}"
        return f"{type(self).__name__}({self._index!r}{base if self.base_filters else ''})"

    __str__ = __repr__

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

    def add(self, nodes: Sequence[BaseNode], **settings: Any) -> list[str]:
        """Encode and store nodes; `settings` are arguments of `add_nodes`, which says more."""
        check_names(f"{type(self).__name__}.add", settings, names_of(self.add_nodes))
        return self.add_nodes(nodes, **settings)

    def delete(self, ref_doc_id: str, **unknown: Any) -> None:
        """Delete all nodes of a source document."""
        check_names(f"{type(self).__name__}.delete", unknown, ("ref_doc_id",))
        self._index.delete(filter=self._where({"$document_id": ref_doc_id}))

    def clear(self) -> None:
        """Delete all nodes; with `base_filters`, those that match."""
        self._index.delete(filter=self._where(_EVERYTHING))

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the nodes that match a query best, best first.

        Raises:
            InputError: The mode, an option or a filter is not supported.
        """
        check_names("A query of M3VectorStore", kwargs, OPTIONS)
        defaults = {"weights": self.weights, "fusion": self.fusion, "candidates": self.candidates}
        base = where_of(self.base_filters)
        hits = hits_of(self._index, query, {**defaults, **kwargs}, base)
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

    async def aclear(self) -> None:
        """Run `clear` in a thread."""
        await in_thread(self.clear)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Run `query` in a thread."""
        return await in_thread(self.query, query, **kwargs)

    @classmethod
    def _opened(cls, name: str, settings: dict[str, Any]) -> Self:
        names = [*names_of(getattr(cls, name)), "path", "model", *cls.model_fields, *OPENING]
        check_names(f"{cls.__name__}.{name}", settings, names)
        return cls(**settings)

    def _check(self) -> None:
        """Check that the index supports the settings, so that no query is the first to."""
        options: Any = {name: getattr(self, name) for name in ("weights", "fusion", "candidates")}
        self._index.check(1, filter=where_of(self.base_filters), **options)
