"""Filters: which passages a search may find, as a tree of conditions that every store supports.

Users write a filter as a dict of JSON values:

    {"lang": "es"}                             equal to the value
    {"lang": ["es", "de"]}                     equal to one of the values
    {"year": {"gte": 2000, "lt": 2010}}        in a range: gt, gte, lt, lte; numbers only
    {"lang": "es", "year": {"gte": 2000}}      all of the conditions
    {"$and": [...]}, {"$or": [...]}, {"$not": {...}}

A field is a key of the passage's metadata; "id" and "document_id" are those of the passage. A list
in the metadata matches if one of its elements does. A passage without the field does not match, so
`$not` of that condition does. Numbers compare as 64-bit floats, and never with true or false; so
integers beyond 2**53 that round to the same float are equal.

`Limits` bounds the depth and the size of a filter. No filter can end in a RecursionError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from m3rag.errors import InputError
from m3rag.limits import DEFAULT_LIMITS, Limits, shown
from m3rag.stores.filter_checks import check_condition, check_field, check_shape, check_tree
from m3rag.stores.filter_tree import (
    BOUNDS,
    LISTS,
    OWN_FIELDS,
    And,
    Equals,
    Filter,
    In,
    Not,
    Or,
    Range,
    Value,
    Where,
    equality_key,
    number_of,
)

if TYPE_CHECKING:  # the engine process parses filters without importing documents
    from m3rag.documents import Passage

__all__ = [
    "BOUNDS",
    "OWN_FIELDS",
    "And",
    "Equals",
    "Filter",
    "In",
    "Not",
    "Or",
    "Range",
    "Value",
    "Where",
    "filter_to_dict",
    "matches",
    "parse_filter",
]


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
    return _parse(spec, limits)


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
        case In(field, values):
            return {field: list(values)}
        case Range(field):
            bounds = {b: getattr(tree, b) for b in BOUNDS}
            return {field: {b: value for b, value in bounds.items() if value is not None}}
        case And(parts):
            return {"$and": [_as_dict(part) for part in parts]}
        case Or(parts):
            return {"$or": [_as_dict(part) for part in parts]}
        case Not(part):
            return {"$not": _as_dict(part)}


def _matches(tree: Filter, passage: Passage) -> bool:
    match tree:
        case Equals(field, value):
            return any(equality_key(v) == equality_key(value) for v in _values(passage, field))
        case In(field):
            return any(equality_key(v) in tree.keys for v in _values(passage, field))
        case Range(field):
            return any(_within(tree, v) for v in _values(passage, field))
        case And(parts):
            return all(_matches(part, passage) for part in parts)
        case Or(parts):
            return any(_matches(part, passage) for part in parts)
        case Not(part):
            return not _matches(part, passage)


def _parse(spec: object, limits: Limits) -> Filter | None:
    if isinstance(spec, Filter):
        check_tree(spec, limits)
        return spec
    if not isinstance(spec, Mapping):
        raise InputError(f"A filter must be a dict, such as {{'lang': 'es'}}, got {shown(spec)}.")
    parts = tuple(_entry(key, value, limits) for key, value in spec.items())
    return And(parts) if len(parts) > 1 else parts[0] if parts else None


def _entry(key: object, value: object, limits: Limits) -> Filter:
    if not isinstance(key, str):
        raise InputError(f"A filter's field must be a string, got {shown(key)}.")
    if key in ("$and", "$or"):
        if not isinstance(value, list | tuple) or not value:
            raise InputError(f"{key} takes a list of one or more filters, got {shown(value)}.")
        parts = tuple(_part(key, v, limits) for v in value)
        return And(parts) if key == "$and" else Or(parts)
    if key == "$not":
        return Not(_part(key, value, limits))
    return _condition(check_field(key, limits), value, limits)


def _part(operator: str, value: object, limits: Limits) -> Filter:
    part = None if value is None else _parse(value, limits)
    if part is None:
        raise InputError(f"{operator} takes filters with a condition, got {shown(value)}.")
    return part


def _condition(field: str, value: object, limits: Limits) -> Filter:
    check_condition(field, value, limits)
    if isinstance(value, Mapping):
        return Range(field, **{bound: float(number) for bound, number in value.items()})
    if isinstance(value, LISTS):
        return In(field, tuple(map(_plain, value)))
    return Equals(field, _plain(value))


def _plain(value: object) -> Value:
    """Return a checked value without its subclass, such as that of an enum or of numpy."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return value
    assert isinstance(value, int | float)
    return int(value) if isinstance(value, int) else float(value)


def _values(passage: Passage, field: str) -> Sequence[object]:
    if field in OWN_FIELDS:
        found: object = getattr(passage, field)
    else:
        found = passage.metadata.get(field)
    if isinstance(found, list | tuple):
        return found
    return () if found is None else (found,)


def _within(bounds: Range, found: object) -> bool:
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    number = number_of(found)
    return (
        (bounds.gt is None or number > bounds.gt)
        and (bounds.gte is None or number >= bounds.gte)
        and (bounds.lt is None or number < bounds.lt)
        and (bounds.lte is None or number <= bounds.lte)
    )
