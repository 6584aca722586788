"""The values of a passage that filters can test, by the name of their field.

A field is a key of the metadata, or a path to a key inside dicts: "author.name". A list stands for
its elements, so "authors.name" is the name of any author. Filters do not look into dicts whose key
begins with an underscore at the top: those belong to a framework.

"id", "document_id", "start", "end" and "headings" are the passage's own and those of the metadata,
if it has keys of these names. "$id" and "$document_id" are the passage's own only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from m3rag.stores.filter_tree import Value

if TYPE_CHECKING:  # the engine process parses filters without importing documents
    from m3rag.documents import Passage

LONGEST = 1_024  # characters of a path; deep dicts with long keys would have gigabytes of paths
_SCALARS = (str, int, float)  # a bool is an int
_OWN: dict[str, Callable[[Passage], Any]] = {
    "id": lambda passage: passage.id,
    "document_id": lambda passage: passage.document_id,
    "start": lambda passage: passage.start,
    "end": lambda passage: passage.end,
    "headings": lambda passage: passage.headings,
}
_IN_ROWS = ("start", "end", "headings")  # the ids have columns of their own

Found = Value | None
"""A value, or None for a dict or list that is not empty: it only exists."""


def values(passage: Passage, field: str) -> Iterator[Found]:
    """Yield the values of a field of a passage."""
    if field.startswith("$"):
        yield from _elements(_OWN[field[1:]](passage))
        return
    if field in _OWN:
        yield from _elements(_OWN[field](passage))
    if len(field) <= LONGEST:
        yield from _at(passage.metadata, field, top=True)


def fields(passage: Passage) -> dict[str, list[Found]]:
    """Return all values of a passage but its ids, by field; those that no filter can name left out.

    For each of these fields, the values are those of `values`.
    """
    found: dict[str, list[Found]] = {}
    for name in _IN_ROWS:
        found[name] = list(_elements(_OWN[name](passage)))
    todo: list[tuple[str, Any, bool]] = [(k, v, True) for k, v in passage.metadata.items()]
    while todo:
        name, value, top = todo.pop()
        if len(name) > LONGEST or '"' in name or "\\" in name:
            continue
        found.setdefault(name, []).extend(_elements(value))
        for part in _dicts(name, value, top=top):
            todo += [(f"{name}.{key}", inner, False) for key, inner in part.items()]
    return {name: listed for name, listed in found.items() if listed}


def _at(metadata: Mapping[str, Any], path: str, *, top: bool = False) -> Iterator[Found]:
    """Yield the values at a path; a dot in it may also be one of a key."""
    if path in metadata:
        yield from _elements(metadata[path])
    at = path.find(".")
    while at >= 0:
        key = path[:at]
        if key in metadata:
            for part in _dicts(key, metadata[key], top=top):
                yield from _at(part, path[at + 1 :])
        at = path.find(".", at + 1)


def _elements(value: object) -> Iterator[Found]:
    for element in value if isinstance(value, list | tuple) else (value,):
        if isinstance(element, _SCALARS):
            yield element
        elif element:
            yield None


def _dicts(key: str, value: object, *, top: bool) -> Iterator[Mapping[str, Any]]:
    """Yield the dicts that a value is or has as elements, if filters look into them."""
    if top and key.startswith("_"):
        return
    for element in value if isinstance(value, list | tuple) else (value,):
        if isinstance(element, Mapping):
            yield element
