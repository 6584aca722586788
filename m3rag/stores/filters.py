"""Which passages a search may find: a small tree of conditions that every store understands.

Written by the user as a dict of JSON values:

    {"lang": "es"}                             equal
    {"lang": ["es", "de"]}                     one of
    {"year": {"gte": 2000, "lt": 2010}}        in a range: gt, gte, lt, lte; numbers only
    {"lang": "es", "year": {"gte": 2000}}      all of them
    {"$and": [...]}, {"$or": [...]}, {"$not": {...}}

A field is a key of the passage's metadata; "id" and "document_id" are the passage's own. A
list in the metadata matches if one of its elements does. A passage that lacks the field does not
match (so `$not` of that does). Numbers compare as 64-bit floats, and never with true or false.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from m3rag.errors import InputError

if TYPE_CHECKING:  # the engine process reads filters, and needs no documents
    from m3rag.documents import Passage

Value = str | int | float | bool

OWN_FIELDS = ("id", "document_id")
BOUNDS = ("gt", "gte", "lt", "lte")


@dataclass(frozen=True, slots=True)
class Equals:
    """The field, or an element of it, is this value."""

    field: str
    value: Value


@dataclass(frozen=True, slots=True)
class In:
    """The field, or an element of it, is one of these values."""

    field: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """The field, or an element of it, is a number within all the bounds that are given."""

    field: str
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None


@dataclass(frozen=True, slots=True)
class And:
    """All the parts match."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part matches."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not match."""

    part: Filter


Filter = Equals | In | Range | And | Or | Not
Where = Mapping[str, Any] | Filter | None
"""A filter as users write it."""


def parse_filter(spec: Mapping[str, Any] | Filter | None) -> Filter | None:
    """The tree that a dict describes; an empty dict or None is no filter.

    Raises:
        InputError: an operator, bound or value that is not one; the message lists what is.
    """
    if spec is None or isinstance(spec, Filter):
        return spec
    if not isinstance(spec, Mapping):
        raise InputError(f"A filter is a dict, such as {{'lang': 'es'}}, got {spec!r}.")
    parts = tuple(_entry(key, value) for key, value in spec.items())
    return And(parts) if len(parts) > 1 else parts[0] if parts else None


def filter_to_dict(tree: Filter) -> dict[str, Any]:
    """The dict that `parse_filter` turns into the same conditions."""
    match tree:
        case Equals(field, value):
            return {field: value}
        case In(field, values):
            return {field: list(values)}
        case Range(field):
            bounds = {b: getattr(tree, b) for b in BOUNDS}
            return {field: {b: value for b, value in bounds.items() if value is not None}}
        case And(parts):
            return {"$and": [filter_to_dict(part) for part in parts]}
        case Or(parts):
            return {"$or": [filter_to_dict(part) for part in parts]}
        case Not(part):
            return {"$not": filter_to_dict(part)}


def matches(tree: Filter, passage: Passage) -> bool:
    """Whether the passage meets the conditions."""
    match tree:
        case Equals(field, value):
            return any(_equal(value, v) for v in _values(passage, field))
        case In(field, values):
            return any(_equal(value, v) for v in _values(passage, field) for value in values)
        case Range(field):
            return any(_within(tree, v) for v in _values(passage, field))
        case And(parts):
            return all(matches(part, passage) for part in parts)
        case Or(parts):
            return any(matches(part, passage) for part in parts)
        case Not(part):
            return not matches(part, passage)


def _entry(key: object, value: object) -> Filter:
    if key in ("$and", "$or"):
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise InputError(f"{key} takes a list of one filter or more, got {value!r}.")
        parts = tuple(_part(key, v) for v in value)
        return And(parts) if key == "$and" else Or(parts)
    if key == "$not":
        return Not(_part(key, value))
    return _condition(_field(key), value)


def _part(operator: object, value: object) -> Filter:
    part = parse_filter(value)  # type: ignore[arg-type]  # checks it itself
    if part is None:
        raise InputError(f"{operator} takes filters that say something, got {value!r}.")
    return part


def _field(key: object) -> str:
    if not isinstance(key, str):
        raise InputError(f"A filter's field must be a string, got {key!r}.")
    if key.startswith("$"):
        raise InputError(f"No filter operator is called {key!r}; there are $and, $or, $not.")
    if '"' in key or "\\" in key:  # the engine's paths cannot quote them
        raise InputError(f"A field with a quote or a backslash cannot be filtered on: {key!r}.")
    return key


def _condition(field: str, value: object) -> Filter:
    if isinstance(value, Mapping):
        unknown = [bound for bound in value if bound not in BOUNDS]
        if unknown or not value:
            raise InputError(
                f"Filter on {field!r}: the bounds of a range are {', '.join(BOUNDS)}, got {value!r}"
            )
        for bound in value.values():
            if isinstance(bound, bool | str) or not isinstance(_value(field, bound), int | float):
                raise InputError(f"Filter on {field!r}: bounds must be numbers, got {bound!r}.")
        return Range(field, **value)
    if isinstance(value, list | tuple | set | frozenset):
        return In(field, tuple(_value(field, v) for v in value))
    return Equals(field, _value(field, value))


def _value(field: str, value: object) -> Value:
    if not isinstance(value, str | int | float):
        raise InputError(
            f"Filter on {field!r}: values are strings, numbers or booleans, got {value!r}."
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"Filter on {field!r}: {value!r} is not a finite number.")
    return value


def _values(passage: Passage, field: str) -> Sequence[object]:
    if field in OWN_FIELDS:
        found: object = getattr(passage, field)
    else:
        found = passage.metadata.get(field)
    if isinstance(found, list | tuple):
        return found
    return () if found is None else (found,)


def _equal(wanted: Value, found: object) -> bool:
    if isinstance(wanted, str | bool) or isinstance(found, str | bool):
        return type(wanted) is type(found) and wanted == found
    return isinstance(found, int | float) and float(wanted) == float(found)


def _within(bounds: Range, found: object) -> bool:
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    return (
        (bounds.gt is None or found > bounds.gt)
        and (bounds.gte is None or found >= bounds.gte)
        and (bounds.lt is None or found < bounds.lt)
        and (bounds.lte is None or found <= bounds.lte)
    )
