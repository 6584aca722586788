"""Filters as SQL conditions on the tables of `m3rag.stores.edge.database`.

The table `field` has one row for each value that a filter can test: (name, value, key). Strings are
TEXT, numbers REAL, and booleans BLOB, so that values of different types never compare as equal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from m3rag.stores.filters import OWN_FIELDS, And, Equals, Filter, In, Not, Or, Range, Value

_WHOLE = 256  # characters of a string that are stored; a longer one is stored as its hash
_OPERATORS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}

Condition = tuple[str, list[Any]]
"""An SQL expression and its parameters."""

EVERYTHING: Condition = ("1", [])
_NOTHING: Condition = ("0", [])


def fields(metadata: Mapping[str, Any]) -> dict[str, list[Value]]:
    """Return the values of a passage's metadata that filters can test, by name."""
    found = {}
    for name, value in metadata.items():
        values = value if isinstance(value, list | tuple) else [value]
        found[name] = [v for v in values if isinstance(v, str | bool | int | float)]
    return {name: values for name, values in found.items() if values and _nameable(name)}


def field_rows(metadata: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the (name, value) rows of a passage's metadata, each once."""
    for name, values in fields(metadata).items():
        yield from dict.fromkeys((name, stored(v)) for v in values)


def _nameable(name: str) -> bool:
    return '"' not in name and "\\" not in name  # filters cannot name these


def stored(value: str | float | bool) -> str | float | bytes:
    """Return a value as it is stored."""
    if isinstance(value, bool):
        return b"\1" if value else b"\0"
    if isinstance(value, str):
        if len(value) <= _WHOLE:
            return value
        return "\0" + hashlib.blake2b(value.encode(), digest_size=20).hexdigest()
    return float(value)


def condition(tree: Filter | None) -> Condition:
    """Return the condition on the table `passage` that a filter describes."""
    match tree:
        case None:
            return EVERYTHING
        case Equals(field, value) if field in OWN_FIELDS:
            return _own(field, [value])
        case In(field, values) if field in OWN_FIELDS:
            return _own(field, values)
        case Range(field) if field in OWN_FIELDS:
            return _NOTHING  # ids are strings, and ranges are for numbers
        case Equals(field, value):
            return _field("value = ?", [field, stored(value)])
        case In(field, values):
            test, parameters = one_of("value", [stored(v) for v in values])
            return _field(test, [field, *parameters])
        case Range(field):
            bounds = {b: getattr(tree, b) for b in _OPERATORS if getattr(tree, b) is not None}
            tests = [f"value {_OPERATORS[bound]} ?" for bound in bounds]
            tests.append("value < ''")  # every number is below every string
            return _field(" AND ".join(tests), [field, *map(float, bounds.values())])
        case And(parts):
            return _joined(" AND ", parts)
        case Or(parts):
            return _joined(" OR ", parts)
        case Not(part):
            test, parameters = condition(part)
            return f"NOT {test}", parameters


def _own(field: str, values: Sequence[Any]) -> Condition:
    test, parameters = one_of(field, [v for v in values if isinstance(v, str)])
    return f"({field} IS NOT NULL AND {test})", parameters


def one_of(column: str, values: Sequence[Any]) -> Condition:
    """Return the test for one of many values; there may be more than SQLite takes parameters."""
    simple = [v for v in values if isinstance(v, float) or (isinstance(v, str) and "\0" not in v)]
    others = [v for v in dict.fromkeys(values) if isinstance(v, bytes) or "\0" in str(v)]
    tests, parameters = [f"{column} IN (SELECT value FROM json_each(?))"], [json.dumps(simple)]
    tests += [f"{column} = ?"] * len(others)
    return f"({' OR '.join(tests)})", [*parameters, *others]


def _field(test: str, parameters: list[Any]) -> Condition:
    return f"key IN (SELECT key FROM field WHERE name = ? AND {test})", parameters


def _joined(operator: str, parts: Sequence[Filter]) -> Condition:
    conditions = [condition(part) for part in parts]
    tests = operator.join(f"({test})" for test, _ in conditions)
    return f"({tests})", [p for _, parameters in conditions for p in parameters]
