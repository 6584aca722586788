"""The base of the retrievers: an index, its nodes, and searches of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import IndexNode, NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from m3rag.closing import closed_on_errors
from m3rag.frameworks import (
    OPENING,
    IndexLike,
    ModelLike,
    Opening,
    assign,
    check_names,
    check_scores,
    index_of,
    least_score,
    names_of,
    opening_of,
)
from m3rag.index.hit import Hit
from m3rag.index.index import M3Index
from m3rag.index.manifest import ColbertMode
from m3rag.index.settings import DEFAULTS, SETTINGS, SearchOptions, SearchSettings
from m3rag.limits import check_count
from m3rag.llama_index.base_filters import base_of
from m3rag.llama_index.collection import NodeCollection
from m3rag.llama_index.component import chosen_index
from m3rag.llama_index.metadata_filters import all_of, one_of, where_of
from m3rag.llama_index.nodes import M3NodeWithScore, scored
from m3rag.llama_index.query_bundle import asearch, search
from m3rag.llama_index.sections import widened
from m3rag.model.lookup import DEFAULT
from m3rag.threads import in_thread


class RetrieverOptions(SearchOptions, Opening, total=False):
    """The settings of a search, and those of opening an index."""


def setting(name: str) -> Any:
    """Return a property that reads and replaces a field of `settings`."""

    def read(retriever: IndexRetriever) -> Any:
        return getattr(retriever.settings, name)

    def assign(retriever: IndexRetriever, value: Any) -> None:
        retriever.settings = replace(retriever.settings, **{name: value})

    return property(read, assign, doc=f"`SearchSettings.{name}`.")


class IndexRetriever(NodeCollection, BaseRetriever):
    """The base of both retrievers: search an index and return nodes with scores.

    The arguments are those of `M3EnsembleRetriever`. Every attribute can be assigned, and is
    checked at once.
    """

    _new_colbert: ClassVar[ColbertMode | None] = None  # the mode of a new index in memory
    _options: ClassVar[tuple[str, ...]] = SETTINGS  # the settings of a search that it takes
    _fixed: ClassVar[SearchOptions] = {}
    _ready = False  # whether the constructor is done

    def __init__(
        self,
        index: IndexLike | None = None,
        *,
        path: object = None,
        model: ModelLike = None,
        similarity_top_k: int = 4,
        filters: MetadataFilters | None = None,
        base_filters: MetadataFilters | None = None,
        doc_ids: Sequence[str] | None = None,
        node_ids: Sequence[str] | None = None,
        neighbours: int = 0,
        scores_in_metadata: bool | str = False,
        settings: SearchSettings = DEFAULTS,
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        objects: list[IndexNode] | None = None,
        verbose: bool = False,
        **options: Unpack[RetrieverOptions],
    ) -> None:
        what = type(self).__name__
        rest: dict[str, Any] = {**options}
        check_names(what, rest, self._names())
        super().__init__(
            callback_manager=callback_manager,
            object_map=object_map,
            objects=objects,
            verbose=verbose,
        )
        opening = opening_of(rest)
        found, opened = chosen_index(what, index, path, model, opening)
        with closed_on_errors(found if opened else None):
            self.base_filters = base_of(index, base_filters)
            self.index = found
            self.similarity_top_k = similarity_top_k
            self.filters = filters
            self.doc_ids = doc_ids
            self.node_ids = node_ids
            self.neighbours = neighbours
            self.scores_in_metadata = scores_in_metadata
            self.settings = settings.changed(**rest, **self._fixed)
            self._check()
        self._ready = True

    @property
    def index(self) -> M3Index:
        """The index to search; assign anything that has one."""
        return self._index

    @index.setter
    def index(self, index: IndexLike) -> None:
        self._index = index_of(index)
        self.base_filters = base_of(index, self.base_filters)

    candidates = setting("candidates")
    balance = setting("balance")
    offset = setting("offset")
    max_per_document = setting("max_per_document")
    min_score = setting("min_score")

    def __setattr__(self, name: str, value: Any) -> None:
        if not self._ready or name.startswith("_"):
            super().__setattr__(name, value)
            return
        known = [n for n in dir(self) if not n.startswith("_") and not callable(getattr(self, n))]
        check_names(type(self).__name__, [name], known)
        assign(self, name, value, super().__setattr__)

    def __str__(self) -> str:
        return f"{type(self).__name__}({self.index!r}, similarity_top_k={self.similarity_top_k})"

    __repr__ = __str__

    @classmethod
    def _opened(cls, name: str, settings: dict[str, Any]) -> Self:
        known = [*names_of(getattr(cls, name)), *cls._names()]
        known.remove("index")
        check_names(f"{cls.__name__}.{name}", settings, dict.fromkeys(known))
        if settings.get("path") is None and cls._new_colbert is not None:
            settings.setdefault("colbert", cls._new_colbert)
        if settings.get("path") is None and settings.get("model") is None:
            settings["model"] = DEFAULT
        return cls(**settings)

    @classmethod
    def _names(cls) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return (*names_of(IndexRetriever.__init__), *cls._options, *OPENING)

    def _check(self) -> None:
        """Check that the index supports the settings, so that no search is the first to."""
        check_scores(self.scores_in_metadata, "scores_in_metadata")
        check_count("neighbours", self.neighbours, least=0)
        self.index.check(self.similarity_top_k, settings=self._settings())

    def _settings(self) -> SearchSettings:
        """Return the settings of a search, with the current filters."""
        return self.settings.changed(
            min_score=least_score(self.index, self.settings.min_score, self.settings.weights),
            filter=all_of(
                where_of(self.base_filters, "base_filters"),
                where_of(self.filters),
                one_of("$document_id", self.doc_ids, "doc_ids"),
                one_of("$id", self.node_ids, "node_ids"),
                self.settings.filter,
            ),
        )

    if TYPE_CHECKING:

        def retrieve(  # type: ignore[override]
            self, str_or_query_bundle: str | QueryBundle
        ) -> list[M3NodeWithScore]:
            """Return the best nodes, each with the scores of its channels."""

        async def aretrieve(  # type: ignore[override]
            self, str_or_query_bundle: str | QueryBundle
        ) -> list[M3NodeWithScore]:
            """Run `retrieve` without blocking the event loop."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        settings = self._settings()
        return self._nodes(search(self.index, query_bundle, self.similarity_top_k, settings))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        settings = self._settings()
        hits = await asearch(self.index, query_bundle, self.similarity_top_k, settings)
        return await in_thread(self._nodes, hits) if self.neighbours else self._nodes(hits)

    def _nodes(self, hits: Sequence[Hit]) -> list[NodeWithScore]:
        if self.neighbours:
            hits = widened(self.index, hits, self.neighbours, self.base_filters)
        return [scored(hit, self.scores_in_metadata) for hit in hits]

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


def _has_index_nodes(nodes: Sequence[NodeWithScore]) -> bool:
    """Return whether a node refers to an object, such as another retriever."""
    return any(isinstance(found.node, IndexNode) for found in nodes)
