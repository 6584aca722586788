"""Filters that everything a component reads, writes and deletes must match."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llama_index.core.vector_stores.types import MetadataFilters

from m3rag.documents import Passage
from m3rag.errors import InputError
from m3rag.frameworks import held_filters
from m3rag.index.index import M3Index
from m3rag.limits import shown
from m3rag.llama_index.metadata_filters import Where, all_of, where_of
from m3rag.stores.filters import matches, parse_filter

_PAGE = 256  # ids that are looked up at a time


def base_of(given: object, own: MetadataFilters | None) -> MetadataFilters | None:
    """Return the base filters of a component: its own, and those of what it is made over.

    Args:
        given: The index of the component, or what has it.
        own: The filters that the component is given.
    """
    every = [own, *held_filters(given, "base_filters")]
    filters = [part for part in every if isinstance(part, MetadataFilters)]
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
    """Check that passages match base filters, and replace no passage that does not.

    Args:
        index: The index that shall store the passages.
        base: The filters.
        passages: The new passages.
        documents: Ids of documents whose stored passages shall be replaced.

    Raises:
        InputError: A passage does not match, or its id or that of its document is taken.
    """
    where = where_of(base)
    tree = parse_filter(where, index.limits)
    if where is None or tree is None:
        return
    for passage in passages:
        if not matches(tree, passage):
            raise InputError(
                f"Node {shown(passage.id)} does not match `base_filters`, so it could not be found "
                "again. Give it the metadata that they ask for."
            )
    names = {*documents, *(p.document_id for p in passages if p.document_id is not None)}
    for field, ids in (("$id", {p.id for p in passages}), ("$document_id", names)):
        _check_free(index, where, field, sorted(ids))


def _check_free(index: M3Index, where: Where, field: str, ids: Sequence[str]) -> None:
    for start in range(0, len(ids), _PAGE):
        taken = all_of({field: [*ids[start : start + _PAGE]]}, {"$not": where})
        for passage in index.passages(taken):
            name = passage.id if field == "$id" else passage.document_id
            raise InputError(
                f"The id {shown(name)} is taken by a node that does not match `base_filters`. "
                "Choose another one."
            )
