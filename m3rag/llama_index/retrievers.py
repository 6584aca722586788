"""Retrievers for LlamaIndex over an M3Index: one forward pass a query, every score kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, Unpack

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.node_parser import NodeParser
from llama_index.core.schema import BaseNode, Document, IndexNode, NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from m3rag.index import M3Index
from m3rag.index.manifest import ColbertMode
from m3rag.index.settings import DEFAULTS, SearchOptions, SearchSettings
from m3rag.llama_index.component import ModelLike, open_index
from m3rag.llama_index.metadata_filters import all_of, where_of
from m3rag.llama_index.node_parser import M3NodeParser
from m3rag.llama_index.nodes import passage_of, scored


class _IndexRetriever(BaseRetriever):
    """What both retrievers do: ask the index, and give nodes with scores back.

    Attributes:
        index: what is searched.
        similarity_top_k: how many nodes a query gets at most.
        filters: which nodes may be found.
        settings: how the index is searched.
    """

    _colbert: ClassVar[ColbertMode | None] = None  # what an index in memory keeps for ColBERT

    def __init__(
        self,
        index: M3Index,
        *,
        similarity_top_k: int = 4,
        filters: MetadataFilters | None = None,
        settings: SearchSettings = DEFAULTS,
        callback_manager: CallbackManager | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(callback_manager=callback_manager, **kwargs)
        self.index = index
        self.similarity_top_k = similarity_top_k
        self.filters = filters
        self.settings = settings
        # Settings that the index cannot serve are an error now, not at the first query.
        self.index.check(self.similarity_top_k, settings=self._settings())

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
        """A retriever over these nodes.

        Args:
            nodes: What can be found; one whose id the index has replaces that one.
            model: What encodes, or its name; the process's shared BGE-M3 by default.
            path: A folder to keep the index in; without it, it is gone with the retriever.
            colbert: "stored", "on-demand" or "off": see `M3Index.open`.
            settings: The retriever's own arguments.
        """
        colbert = colbert or (cls._colbert if path is None else None)
        retriever = cls(open_index(model, path, colbert), **settings)
        retriever.index.add(passage_of(node) for node in nodes)
        return retriever

    @classmethod
    def from_documents(
        cls,
        documents: Sequence[Document],
        *,
        model: ModelLike = None,
        node_parser: NodeParser | None = None,
        **settings: Any,
    ) -> Self:
        """A retriever over the passages of these documents.

        Args:
            documents: Texts of any length, split by `node_parser`.
            model: What encodes, or its name; the process's shared BGE-M3 by default.
            node_parser: An `M3NodeParser` of the model with its defaults, if not given.
            settings: `path`, `colbert`, and the retriever's own arguments.
        """
        parser = node_parser or M3NodeParser(model=model)
        nodes = parser.get_nodes_from_documents(documents)
        return cls.from_nodes(nodes, model=model, **settings)

    def _settings(self) -> SearchSettings:
        """Return how the index is searched, with the filters as they are now."""
        return self.settings.changed(filter=all_of(where_of(self.filters), self.settings.filter))

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self.index.search(
            query_bundle.query_str, self.similarity_top_k, settings=self._settings()
        )
        return [scored(hit) for hit in hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = await self.index.asearch(
            query_bundle.query_str, self.similarity_top_k, settings=self._settings()
        )
        return [scored(hit) for hit in hits]

    # Older versions take nodes of equal text for one; an index tells them apart by their ids.
    def _handle_recursive_retrieval(
        self, query_bundle: QueryBundle, nodes: list[NodeWithScore]
    ) -> list[NodeWithScore]:
        if not _leads_on(nodes):
            return nodes
        return super()._handle_recursive_retrieval(query_bundle, nodes)

    async def _ahandle_recursive_retrieval(
        self, query_bundle: QueryBundle, nodes: list[NodeWithScore]
    ) -> list[NodeWithScore]:
        if not _leads_on(nodes):
            return nodes
        return await super()._ahandle_recursive_retrieval(query_bundle, nodes)


class M3EnsembleRetriever(_IndexRetriever):
    """Dense, sparse and ColBERT scores of one pass, fused; each candidate is scored by all.

        weighted   the sum of weight * score over the channels, divided by the weights' sum
        rrf        the sum of weight / (60 + rank), ranks from 1

    Example:
        >>> nodes = [TextNode(text="Ferns like shade."), TextNode(text="Cacti like sun.")]
        >>> retriever = M3EnsembleRetriever.from_nodes(nodes, model="tiny", weights="cross-lingual")
        >>> retriever.retrieve("Who likes shade?")[0].text
        'Ferns like shade.'

    Nodes are told apart by their ids alone. Each comes as an `M3NodeWithScore`.

    Args:
        index: What is searched; `from_nodes` and `from_documents` make one.
        similarity_top_k: How many nodes a query gets at most.
        filters: Which nodes may be found.
        settings: How to search.
        callback_manager: `BaseRetriever`'s own, like `object_map`, `objects` and `verbose`.
        object_map: `BaseRetriever`'s own.
        objects: `BaseRetriever`'s own.
        verbose: `BaseRetriever`'s own.
        options: Fields of `SearchSettings` that differ from `settings`.
    """

    def __init__(
        self,
        index: M3Index,
        *,
        similarity_top_k: int = 4,
        filters: MetadataFilters | None = None,
        settings: SearchSettings = DEFAULTS,
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        objects: list[IndexNode] | None = None,
        verbose: bool = False,
        **options: Unpack[SearchOptions],
    ) -> None:
        super().__init__(
            index,
            similarity_top_k=similarity_top_k,
            filters=filters,
            settings=settings.changed(**options),
            callback_manager=callback_manager,
            object_map=object_map,
            objects=objects,
            verbose=verbose,
        )


class M3SparseRetriever(_IndexRetriever):
    """Retrieval by the model's learned term weights alone: `<q, p>` over common tokens.

    Example:
        >>> nodes = [TextNode(text="Ferns like shade."), TextNode(text="Cacti like sun.")]
        >>> retriever = M3SparseRetriever.from_nodes(nodes, model="tiny")
        >>> [found.text for found in retriever.retrieve("sun")]
        ['Cacti like sun.']

    Only nodes that share a token with the query are found. An index that it makes in memory
    keeps no ColBERT vectors.

    Args:
        index: What is searched; `from_nodes` and `from_documents` make one.
        similarity_top_k: How many nodes a query gets at most.
        filters: Which nodes may be found.
        settings: `BaseRetriever`'s own arguments.
    """

    _colbert = "off"

    def __init__(self, index: M3Index, **settings: Any) -> None:
        super().__init__(index, settings=SearchSettings(channels=["sparse"]), **settings)


def _leads_on(nodes: Sequence[NodeWithScore]) -> bool:
    """Whether a node stands for an object, such as another retriever."""
    return any(isinstance(found.node, IndexNode) for found in nodes)
