"""Names that an index does not have, and the most similar ones that it has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from m3rag.limits import shown
from m3rag.stores.base import Store, pages
from m3rag.stores.filter_fields import fields
from m3rag.stores.filter_tree import And, Filter, Not, Or
from m3rag.stores.filters import Where, parse_filter

_PAGE = 256  # passages read at a time
_NAMED = 8  # fields that a message lists


def unknown_documents(store: Store, ids: Iterable[str]) -> list[str]:
    """Return a sentence for each id that is no document, with the most similar id."""
    missing = [i for i in ids if not store.count(parse_filter({"$document_id": i}))]
    if not missing:
        return []
    known = {p.document_id for page in pages(store, None, _PAGE) for p in page if p.document_id}
    return [f"There is no document {shown(i)}.{_nearest(i, known)}" for i in missing]


def unknown_fields(store: Store, where: Where) -> list[str]:
    """Return a sentence for each field of a filter that no passage has, with the most similar."""
    tree = parse_filter(where)
    names = [] if tree is None else dict.fromkeys(_named(tree))
    missing = [name for name in names if not store.count(parse_filter({name: {"exists": True}}))]
    if not missing or not store.count():
        return []
    known = {name for page in pages(store, None, _PAGE) for p in page for name in fields(p)}
    known = {name for name in known if not name.startswith("_")} | {"id", "document_id"}
    listed = ", ".join(sorted(known)[:_NAMED]) + (", …" if len(known) > _NAMED else "")
    return [
        f"No passage has the field {shown(name)}."
        + (_nearest(name, known) or f" The fields are {listed}.")
        for name in missing
    ]


def _named(tree: Filter) -> Iterator[str]:
    """Yield the fields of the metadata that a filter tests."""
    if isinstance(tree, And | Or):
        for part in tree.parts:
            yield from _named(part)
    elif isinstance(tree, Not):
        yield from _named(tree.part)
    elif not tree.field.startswith("$"):
        yield tree.field


def _nearest(name: str, known: Iterable[str]) -> str:
    found = get_close_matches(name, [*known], n=1)
    return f" Did you mean {shown(found[0])}?" if found else ""
