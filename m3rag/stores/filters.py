"""Filters: which passages a search may find, as a tree of conditions that every store supports.

Users write a filter as a dict of JSON values:

    {"lang": "es"}                             equal to the value
    {"lang": ["es", "de"]}                     equal to one of the values; [] matches nothing
    {"year": {"gte": 2000, "lt": 2010}}        in a range: gt, gte, lt, lte, between
    {"date": {"gte": "2026-03-01"}}            the same for dates and times in ISO 8601
    {"author.name": "Ann"}                     a key inside a dict
    {"tags": {"exists": True}}                 has a value; with False, has none
    {"path": {"prefix": "docs/"}}              a string that begins so
    {"title": {"text": "soil"}}                a string with this word, or with these words in order
    {"title": {"like": "%soil%"}}              SQL's LIKE; ilike ignores the case
    {"lang": {"ne": "es"}}, {"nin": [...]}     not equal to it, or to none of them; also eq and in
    {"lang": "es", "year": {"gte": 2000}}      all of the conditions
    {"$and": [...]}, {"$or": [...]}, {"$not": {...}}

Operators may have a "$" in front, as in other stores: {"year": {"$gte": 2000}}.

`m3rag.stores.filter_fields` says what a field is. A list in the metadata matches if one of its
elements does. A passage without the field does not match, so `$not`, ne and nin of that condition
do. Numbers compare as 64-bit floats, and never with true or false; so integers beyond 2**53 that
round to the same float are equal. Strings are equal if all their characters are.

`Limits` bounds the depth and the size of a filter. No filter can end in a RecursionError.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from m3rag.errors import InputError
from m3rag.limits import DEFAULT_LIMITS, Limits
from m3rag.stores.filter_checks import check_shape, check_tree
from m3rag.stores.filter_fields import Found, values
from m3rag.stores.filter_parsing import parse
from m3rag.stores.filter_tree import (
    BOUNDS,
    OWN_FIELDS,
    And,
    Equals,
    Exists,
    Filter,
    In,
    Leaf,
    Not,
    Or,
    Pattern,
    Range,
    Value,
    Where,
    equality_key,
    number_of,
)
from m3rag.stores.instants import instant, interval
from m3rag.stores.patterns import matcher

if TYPE_CHECKING:  # the engine process parses filters without importing documents
    from m3rag.documents import Passage

__all__ = [
    "BOUNDS",
    "OWN_FIELDS",
    "And",
    "Equals",
    "Exists",
    "Filter",
    "In",
    "Leaf",
    "Not",
    "Or",
    "Pattern",
    "Range",
    "Value",
    "Where",
    "filter_to_dict",
    "matches",
    "parse_filter",
]


CHECKED = Limits(
    filter_depth=1 << 20,
    filter_conditions=1 << 30,
    filter_values=1 << 40,
    key_characters=1 << 40,
    id_characters=1 << 40,
    query_characters=1 << 40,
)
"""The limits for a filter that was checked before, and comes back as JSON."""


def parse_filter(
    spec: Mapping[str, Any] | Filter | None, limits: Limits = DEFAULT_LIMITS
) -> Filter | None:
    """Return the tree that a dict describes; None if the dict is empty or None.

    A tree is checked in the same way and returned unchanged. So every store can use a tree that
    this function returned, whoever built it.

    Raises:
        InputError: An operator, bound or value is invalid, or the filter is nested too deep or too
            large; the message lists the valid ones.
    """
    check_shape(spec, limits)
    if spec is None:
        return None
    if isinstance(spec, Filter):
        check_tree(spec, limits)
        return spec
    tree = parse(spec, limits)
    check_shape(tree, limits)  # several operators of one field are an $and of their own
    return tree


def filter_to_dict(tree: Filter) -> dict[str, Any]:
    """Return the dict that `parse_filter` turns into the same conditions.

    Raises:
        InputError: The tree did not pass `parse_filter` and is nested too deep.
    """
    try:
        return _as_dict(tree)
    except RecursionError:
        raise _too_deep() from None


def matches(tree: Filter, passage: Passage) -> bool:
    """Return whether the passage meets the conditions of a tree that `parse_filter` returned.

    Raises:
        InputError: The tree did not pass `parse_filter` and is nested too deep.
    """
    try:
        return _matches(tree, passage)
    except RecursionError:
        raise _too_deep() from None


def _too_deep() -> InputError:
    return InputError(
        "This filter is nested too deep. Pass it to parse_filter first, which says how deep it may "
        "be."
    )


def _as_dict(tree: Filter) -> dict[str, Any]:
    match tree:
        case Equals(field, value):
            return {field: value}
        case In(field, choices):
            return {field: list(choices)}
        case Range(field):
            return {field: tree.bounds}
        case Exists(field):
            return {field: {"exists": True}}
        case Pattern(field, kind, text):
            return {field: {kind: text}}
        case And(parts):
            return {"$and": [_as_dict(part) for part in parts]}
        case Or(parts):
            return {"$or": [_as_dict(part) for part in parts]}
        case Not(part):
            return {"$not": _as_dict(part)}


def _matches(tree: Filter, passage: Passage) -> bool:
    match tree:
        case Equals(field, value):
            return any(equality_key(v) == equality_key(value) for v in _present(passage, field))
        case In(field):
            return any(equality_key(v) in tree.keys for v in _present(passage, field))
        case Range(field):
            return any(_within(tree, v) for v in values(passage, field))
        case Exists(field):
            return any(True for _ in values(passage, field))
        case Pattern(field, kind, text):
            found = matcher(kind, text)
            return any(isinstance(v, str) and found(v) for v in values(passage, field))
        case And(parts):
            return all(_matches(part, passage) for part in parts)
        case Or(parts):
            return any(_matches(part, passage) for part in parts)
        case Not(part):
            return not _matches(part, passage)


def _present(passage: Passage, field: str) -> list[Value]:
    return [value for value in values(passage, field) if value is not None]


def _within(tree: Range, found: Found) -> bool:
    if isinstance(found, str):
        moment = instant(found) if tree.of_dates else None
        if moment is None:
            return False
        first, last = interval(tree.bounds)
        return first <= moment <= last
    if isinstance(found, bool) or found is None or tree.of_dates:
        return False
    number = number_of(found)
    tests = {"gt": float.__gt__, "gte": float.__ge__, "lt": float.__lt__, "lte": float.__le__}
    return all(tests[bound](number, float(limit)) for bound, limit in tree.bounds.items())
