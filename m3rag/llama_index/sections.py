"""Widen nodes to the sections around them, with the neighbours that the index has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from m3rag.documents import Passage
from m3rag.frameworks import IndexLike, index_of, own_errors
from m3rag.index.expand import expand
from m3rag.index.hit import Hit
from m3rag.index.index import M3Index
from m3rag.llama_index.base_filters import base_of
from m3rag.llama_index.component import Checked, OverAnIndex, check_fields
from m3rag.llama_index.metadata_filters import all_of, where_of
from m3rag.llama_index.nodes import REST, M3NodeWithScore, node_of, passage_of, scores_of
from m3rag.stores.filters import parse_filter

_PLACE = ("text", "start_char_idx", "end_char_idx")


class M3NeighbourPostprocessor(OverAnIndex, Checked, BaseNodePostprocessor):
    """A postprocessor that widens nodes with the nodes before and after them in their document.

    Needs no docstore: the neighbours come from the index. They are those by position in the
    document, up to the first gap, whichever splitter made them. Nodes whose sections overlap become
    one, with the score and the id of the first. A node without a position stays as it is.

    Example:
        >>> document = Document(text="Ferns like shade. Cacti like sun. Moss is small.", id_="a")
        >>> parser = M3NodeParser(model="tiny", max_tokens=16, overlap=0)
        >>> store = M3VectorStore.from_documents([document], node_parser=parser, model="tiny")
        >>> found = M3EnsembleRetriever(store, similarity_top_k=1).retrieve("Who likes sun?")
        >>> M3NeighbourPostprocessor(store).postprocess_nodes(found)[0].text.splitlines()
        ['Ferns like shade.', 'Cacti like sun. Moss is small.']

    Args:
        index: The index with the neighbours, or what has it.
        settings: The fields.

    Attributes:
        neighbours: The number of nodes to add on each side.
        base_filters: Filters that the neighbours match; those of the store, for one over a store.
    """

    neighbours: int = Field(default=1, ge=0)
    base_filters: MetadataFilters | None = None
    _index: M3Index = PrivateAttr()

    def __init__(self, index: IndexLike, **settings: Any) -> None:
        check_fields(type(self), settings)
        with own_errors(type(self).__name__):
            super().__init__(**settings)
        self._index = index_of(index)
        self.base_filters = base_of(index, self.base_filters)

    def _check(self) -> None:
        parse_filter(where_of(self.base_filters), self._index.limits)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex saves the component."""
        return "M3NeighbourPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        given = {found.node_id: found for found in reversed(nodes)}  # the first of each id
        hits = [Hit(found.score or 0.0, passage_of(found.node)) for found in nodes]
        return [
            M3NodeWithScore(
                node=node_of(hit.passage),
                score=given[hit.passage.id].score,
                scores=scores_of(given[hit.passage.id]),
            )
            for hit in widened(self._index, hits, self.neighbours, self.base_filters)
        ]


def widened(
    index: M3Index, hits: Sequence[Hit], neighbours: int, base: MetadataFilters | None = None
) -> list[Hit]:
    """Return hits with widened passages, as `M3Index.expand`, whose texts have no metadata.

    The neighbours match the base filters.

    A passage whose text begins with metadata has the position of the text in its node; such a
    passage is widened too, and loses the metadata in its text.
    """
    where = where_of(base)

    def stored(document: str) -> list[Passage]:
        narrow = all_of({"$document_id": document}, where)
        return [bare(passage) for passage in index.passages(narrow)]

    return expand([replace(hit, passage=bare(hit.passage)) for hit in hits], neighbours, stored)


def bare(passage: Passage) -> Passage:
    """Return a passage with the text and the position of its node."""
    rest = passage.metadata.get(REST) or {}
    if passage.start is not None or not all(key in rest for key in _PLACE):
        return passage
    others = {key: value for key, value in rest.items() if key not in _PLACE}
    return replace(
        passage,
        text=rest["text"],
        start=rest["start_char_idx"],
        end=rest["end_char_idx"],
        metadata={**passage.metadata, REST: others},
    )
