"""Filters: which passages a search may find, as a tree of conditions that every store supports.

Users write a filter as a dict of JSON values:

    {"lang": "es"}                             equal to the value
    {"lang": ["es", "de"]}                     equal to one of the values
    {"year": {"gte": 2000, "lt": 2010}}        in a range: gt, gte, lt, lte; numbers only
    {"lang": "es", "year": {"gte": 2000}}      all of the conditions
    {"$and": [...]}, {"$or": [...]}, {"$not": {...}}

A field is a key of the passage's metadata; "id" and "document_id" are those of the passage. A list
in the metadata matches if one of its elements does. A passage without the field does not match, so
`$not` of that condition does. Numbers compare as 64-bit floats, and never with true or false.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from m3rag.errors import InputError

if TYPE_CHECKING:  # the engine process parses filters without importing documents
    from m3rag.documents import Passage

Value = str | int | float | bool

OWN_FIELDS = ("id", "document_id")
BOUNDS = ("gt", "gte", "lt", "lte")


@dataclass(frozen=True, slots=True)
class Equals:
    """The field, or an element of it, equals the value."""

    field: str
    value: Value


@dataclass(frozen=True, slots=True)
class In:
    """The field, or an element of it, equals one of the values."""

    field: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """The field, or an element of it, is a number within all bounds that are not None."""

    field: str
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None


@dataclass(frozen=True, slots=True)
class And:
    """All parts match."""

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
    """Return the tree that a dict describes; None if the dict is empty or None.

    Raises:
        InputError: An operator, bound or value is invalid; the message lists the valid ones.
    """
    return _parse(spec)


def filter_to_dict(tree: Filter) -> dict[str, Any]:
    """Return the dict that `parse_filter` turns into the same conditions."""
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
    """Return whether the passage meets the conditions."""
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


def _parse(spec: object) -> Filter | None:
    if spec is None or isinstance(spec, Filter):
        return spec
    if not isinstance(spec, Mapping):
        raise InputError(f"A filter must be a dict, such as {{'lang': 'es'}}, got {spec!r}.")
    parts = tuple(_entry(key, value) for key, value in spec.items())
    return And(parts) if len(parts) > 1 else parts[0] if parts else None


def _entry(key: object, value: object) -> Filter:
    if key in ("$and", "$or"):
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise InputError(f"{key} takes a list of one or more filters, got {value!r}.")
        parts = tuple(_part(key, v) for v in value)
        return And(parts) if key == "$and" else Or(parts)
    if key == "$not":
        return Not(_part(key, value))
    return _condition(_field(key), value)


def _part(operator: object, value: object) -> Filter:
    part = _parse(value)
    if part is None:
        raise InputError(f"{operator} takes filters with a condition, got {value!r}.")
    return part


def _field(key: object) -> str:
    if not isinstance(key, str):
        raise InputError(f"A filter's field must be a string, got {key!r}.")
    if key.startswith("$"):
        raise InputError(f"There is no filter operator {key!r}. Use one of $and, $or, $not.")
    if '"' in key or "\\" in key:  # the engine's paths cannot quote them
        raise InputError(f"A filter's field cannot contain a quote or a backslash, got {key!r}.")
    return key


def _condition(field: str, value: object) -> Filter:
    if isinstance(value, Mapping):
        unknown = [bound for bound in value if bound not in BOUNDS]
        if unknown or not value:
            raise InputError(
                f"Filter on {field!r}: a range takes one or more of the bounds "
                f"{', '.join(BOUNDS)}, got {value!r}."
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
            f"Filter on {field!r}: values must be strings, numbers or booleans, got {value!r}."
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
