"""The tree of a filter; `m3rag.stores.filters` says what each part means."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Value = str | int | float | bool

OWN = "$"  # begins the names of fields that are those of the passage, and of no metadata
OWN_FIELDS = ("id", "document_id", "$id", "$document_id")
BOUNDS = ("gt", "gte", "lt", "lte")
PATTERNS = ("prefix", "text", "like", "ilike")

LISTS = (list, tuple, set, frozenset)


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
    _keys: frozenset[object] | None = dataclasses.field(
        default=None, init=False, repr=False, compare=False
    )

    @property
    def keys(self) -> frozenset[object]:
        """What the values have in common with equal ones, so that a look-up takes no loop."""
        if self._keys is None:
            object.__setattr__(self, "_keys", frozenset(map(equality_key, self.values)))
        return self._keys or frozenset()


@dataclass(frozen=True, slots=True)
class Range:
    """The field, or an element of it, is within all bounds that are not None.

    The bounds are numbers, or dates and times in ISO 8601; see `m3rag.stores.instants`.
    """

    field: str
    gt: float | str | None = None
    gte: float | str | None = None
    lt: float | str | None = None
    lte: float | str | None = None

    @property
    def bounds(self) -> dict[str, float | str]:
        """The bounds that are not None, by name."""
        every = {bound: getattr(self, bound) for bound in BOUNDS}
        return {bound: value for bound, value in every.items() if value is not None}

    @property
    def of_dates(self) -> bool:
        """Whether the bounds are dates."""
        return any(isinstance(value, str) for value in self.bounds.values())


@dataclass(frozen=True, slots=True)
class Exists:
    """The field has a value other than None, an empty list or an empty dict."""

    field: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """The field, or an element of it, is a string that matches; see `m3rag.stores.patterns`.

    Attributes:
        kind: "prefix", "text", "like" or "ilike".
        text: What the string begins with, the words in it, or the pattern.
    """

    field: str
    kind: str
    text: str


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


Leaf = Equals | In | Range | Exists | Pattern
"""A condition on a field."""
Filter = Leaf | And | Or | Not
Where = Mapping[str, Any] | Filter | None
"""A filter as users write it."""


def equality_key(value: object) -> object:
    """Return what equal values have in common: numbers as floats, which differ from booleans."""
    if isinstance(value, bool):
        return (value,)
    if isinstance(value, int | float):
        return number_of(value)
    return value if isinstance(value, str) else None


def number_of(value: float) -> float:
    """Return a number as a 64-bit float."""
    try:
        return float(value)
    except OverflowError:  # an integer that a store of an older version kept
        return math.inf if value > 0 else -math.inf
