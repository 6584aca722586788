"""A filter that everything a component reads, writes and deletes must match."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.documents import Document

from m3rag.documents import Passage
from m3rag.frameworks import held_filters
from m3rag.frameworks.base_filters import check_within
from m3rag.index.index import M3Index
from m3rag.langchain.documents import to_document, to_passage
from m3rag.langchain.filters import Where, where_of
from m3rag.stores.filters import matches, parse_filter


class Every:
    """A filter that several filters make together, some of which are functions."""

    def __init__(self, parts: Sequence[Where]) -> None:
        self.parts = [*parts]

    def __call__(self, document: Document) -> bool:
        """Return whether a document passes all of them."""
        return all(_passes(part, document) for part in self.parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Every) and self.parts == other.parts

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return " and ".join(map(repr, self.parts))


def base_of(given: object, own: Where) -> Where:
    """Return the base filter of a component: its own, and those of what it is made over.

    Args:
        given: The index of the component, or what has it.
        own: The filter that the component is given.
    """
    every = [part for part in (own, *held_filters(given, "base_filter")) if part]
    different = [part for at, part in enumerate(every) if part not in every[:at]]
    if len(different) < 2:
        return different[0] if different else own
    return Every(different) if any(map(callable, different)) else {"$and": different}


def check_passages(index: M3Index, base: Where, passages: Sequence[Passage]) -> None:
    """Check that passages match a base filter, and replace no passage that does not.

    Raises:
        InputError: A passage does not match, or its id or that of its document is taken.
    """
    if not base:
        return
    check_within(
        index,
        where_of(index, base),
        passages,
        what="Document",
        name="base_filter",
        fits=(lambda passage: base(to_document(passage))) if callable(base) else None,
    )


def _passes(where: Where, document: Document) -> bool:
    if callable(where):
        return where(document)
    tree = parse_filter(where)
    return tree is None or matches(tree, to_passage(document))
