"""Filters that everything a component reads, writes and deletes must match."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llama_index.core.vector_stores.types import MetadataFilters

from m3rag.documents import Passage
from m3rag.frameworks import base_filters as checks
from m3rag.frameworks import held_filters
from m3rag.index.index import M3Index
from m3rag.llama_index.metadata_filters import where_of


def base_of(given: object, own: MetadataFilters | None) -> MetadataFilters | None:
    """Return the base filters of a component: its own, and those of what it is made over.

    Args:
        given: The index of the component, or what has it.
        own: The filters that the component is given.

    Raises:
        InputError: Its own filters are no `MetadataFilters`.
    """
    where_of(own, "base_filters")
    held = held_filters(given, "base_filters")  # a holder of another package may have anything
    filters = [part for part in (own, *held) if isinstance(part, MetadataFilters)]
    different = [part for i, part in enumerate(filters) if part not in filters[:i]]
    if len(different) < 2:
        return different[0] if different else own
    return MetadataFilters(filters=[*different])


def check_within(
    index: M3Index,
    base: MetadataFilters | None,
    passages: Sequence[Passage],
    documents: Iterable[str] = (),
) -> None:
    """Check that nodes match base filters, and replace no node that does not.

    Args:
        index: The index that shall store the nodes.
        base: The filters.
        passages: The new nodes.
        documents: Ids of documents whose stored nodes shall be replaced.

    Raises:
        InputError: A node does not match, or its id or that of its document is taken.
    """
    where = where_of(base)
    checks.check_within(index, where, passages, documents, what="Node", name="base_filters")
