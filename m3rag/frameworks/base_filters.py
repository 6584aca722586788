"""Checks that a component with a base filter stores nothing outside of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from m3rag.documents import Passage
from m3rag.errors import InputError
from m3rag.index.index import M3Index
from m3rag.limits import shown
from m3rag.stores.filters import matches, parse_filter

_PAGE = 256  # ids that are looked up at a time


def check_within(
    index: M3Index,
    where: Mapping[str, Any] | None,
    passages: Sequence[Passage],
    documents: Iterable[str] = (),
    *,
    what: str,
    name: str,
    fits: Callable[[Passage], bool] | None = None,
) -> None:
    """Check that passages match a base filter, and replace no passage that does not.

    Args:
        index: The index that shall store the passages.
        where: The filter, as a dict.
        passages: The new passages.
        documents: Ids of documents whose stored passages shall be replaced.
        what: The framework's word for a passage, for errors.
        name: The name of the base filter, for errors.
        fits: Whether a new passage matches, if that cannot be told from `where`.

    Raises:
        InputError: A passage does not match, or its id or that of its document is taken.
    """
    tree = parse_filter(where, index.limits)
    if where is None or tree is None:
        return
    for passage in passages:
        if not (matches(tree, passage) if fits is None else fits(passage)):
            raise InputError(
                f"{what} {shown(passage.id)} does not match `{name}`, so it could not be found "
                "again. Give it the metadata that the filter asks for."
            )
    names = {*documents, *(p.document_id for p in passages if p.document_id is not None)}
    for field, ids in (("$id", {p.id for p in passages}), ("$document_id", names)):
        for taken in _taken(index, where, field, sorted(ids)):
            raise InputError(
                f"The id {shown(taken.id if field == '$id' else taken.document_id)} is taken by "
                f"a passage that does not match `{name}`. Choose another one."
            )


def _taken(
    index: M3Index, where: Mapping[str, Any], field: str, ids: Sequence[str]
) -> Iterable[Passage]:
    """Yield the stored passages with one of some ids that do not match."""
    for start in range(0, len(ids), _PAGE):
        part = {field: [*ids[start : start + _PAGE]]}
        yield from index.passages({"$and": [part, {"$not": where}]})
