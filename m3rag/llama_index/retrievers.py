"""Retrievers for LlamaIndex over an index; each node has the scores of all channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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


def _setting(name: str) -> Any:
    """Return a property that reads and replaces a field of `settings`."""

    def read(retriever: _IndexRetriever) -> Any:
        return getattr(retriever.settings, name)

    def assign(retriever: _IndexRetriever, value: Any) -> None:
        retriever.settings = replace(retriever.settings, **{name: value})

    return property(read, assign, doc=f"`SearchSettings.{name}`.")


class _IndexRetriever(BaseRetriever):
    """The base of both retrievers: search an index and return nodes with scores.

    Attributes:
        index: The index to search.
        similarity_top_k: The most nodes to return for a query.
        filters: Search only nodes that match.
        settings: How to search.
    """

    _colbert: ClassVar[ColbertMode | None] = None  # the mode of a new index in memory

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
        # Check now, not at the first query, that the index supports the settings.
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
        """Return a retriever over nodes.

        Args:
            nodes: The nodes to add; a node replaces a stored one with the same id.
            model: A model, or its name; the process's shared BGE-M3 by default.
            path: The folder of the index; None for an index in memory.
            colbert: "stored", "on-demand" or "off"; see `M3Index.open`.
            settings: The arguments of the retriever.
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
        """Return a retriever over the passages of documents.

        Args:
            documents: Documents of any length, split by `node_parser`.
            model: A model, or its name; the process's shared BGE-M3 by default.
            node_parser: Splits the documents; an `M3NodeParser` of the model by default.
            settings: `path`, `colbert`, and the arguments of the retriever.
        """
        parser = node_parser or M3NodeParser(model=model)
        nodes = parser.get_nodes_from_documents(documents)
        return cls.from_nodes(nodes, model=model, **settings)

    def _settings(self) -> SearchSettings:
        """Return the settings of a search, with the current filters."""
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

    # Older versions of LlamaIndex merge nodes of equal text; an index identifies nodes by id.
    def _handle_recursive_retrieval(
        self, query_bundle: QueryBundle, nodes: list[NodeWithScore]
    ) -> list[NodeWithScore]:
        if not _has_index_nodes(nodes):
            return nodes
        return super()._handle_recursive_retrieval(query_bundle, nodes)

    async def _ahandle_recursive_retrieval(
        self, query_bundle: QueryBundle, nodes: list[NodeWithScore]
    ) -> list[NodeWithScore]:
        if not _has_index_nodes(nodes):
            return nodes
        return await super()._ahandle_recursive_retrieval(query_bundle, nodes)


class M3EnsembleRetriever(_IndexRetriever):
    """A retriever that fuses dense, sparse and ColBERT scores from one forward pass.

    All channels score each candidate.

        weighted   the sum of weight * score over the channels, divided by the sum of the weights
        rrf        the sum of weight / (60 + rank), ranks from 1

    Example:
        >>> nodes = [TextNode(text="Ferns like shade."), TextNode(text="Cacti like sun.")]
        >>> retriever = M3EnsembleRetriever.from_nodes(nodes, model="tiny", weights="cross-lingual")
        >>> retriever.retrieve("Who likes shade?")[0].text
        'Ferns like shade.'

    Returns each node as an `M3NodeWithScore`. Nodes are identified by their ids alone.

    Args:
        index: The index to search; `from_nodes` and `from_documents` create one.
        similarity_top_k: The most nodes to return for a query.
        filters: Search only nodes that match.
        settings: How to search.
        callback_manager: See `BaseRetriever`.
        object_map: See `BaseRetriever`.
        objects: See `BaseRetriever`.
        verbose: See `BaseRetriever`.
        options: Fields of `SearchSettings` that differ from `settings`.
    """

    weights = _setting("weights")
    fusion = _setting("fusion")
    channels = _setting("channels")
    candidates = _setting("candidates")
    balance = _setting("balance")

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
    """A retriever that uses the model's term weights alone: `<q, p>` over common tokens.

    Example:
        >>> nodes = [TextNode(text="Ferns like shade."), TextNode(text="Cacti like sun.")]
        >>> retriever = M3SparseRetriever.from_nodes(nodes, model="tiny")
        >>> [found.text for found in retriever.retrieve("sun")]
        ['Cacti like sun.']

    Finds only nodes that share a token with the query. An index that it creates in memory stores no
    ColBERT vectors.

    Args:
        index: The index to search; `from_nodes` and `from_documents` create one.
        similarity_top_k: The most nodes to return for a query.
        filters: Search only nodes that match.
        settings: Arguments of `BaseRetriever`.
    """

    _colbert = "off"

    def __init__(self, index: M3Index, **settings: Any) -> None:
        super().__init__(index, settings=SearchSettings(channels=["sparse"]), **settings)


def _has_index_nodes(nodes: Sequence[NodeWithScore]) -> bool:
    """Return whether a node refers to an object, such as another retriever."""
    return any(isinstance(found.node, IndexNode) for found in nodes)
