r"""Filters as SQL conditions on the tables of `m3rag.stores.edge.database`.

The table `field` has one row for each value that a filter can test: (name, value, key). Strings are
TEXT, numbers REAL, and all else BLOB, so that values of different types never compare as equal:

    b"\0", b"\1"         false and true
    b"\2"                a dict or a list in a list: the field exists
    b"\3" + 8 bytes      the microseconds of a string that is a date, so that ranges use the index
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from m3rag.documents import Passage
from m3rag.stores.edge.rows import passage_of
from m3rag.stores.filter_fields import Found, fields
from m3rag.stores.filters import (
    CHECKED,
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
    filter_to_dict,
    matches,
    parse_filter,
)
from m3rag.stores.instants import instant, interval
from m3rag.stores.patterns import matcher

_WHOLE = 256  # characters of a string that are stored; a longer one is stored as its hash
_OPERATORS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_SLOW = "m3rag_matches(?, {content})"  # reads the passage

Condition = tuple[str, list[Any]]
"""An SQL expression and its parameters."""

EVERYTHING: Condition = ("1", [])
_NOTHING: Condition = ("0", [])


def register(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that conditions call."""
    connection.create_function("m3rag_matches", 2, _slow, deterministic=True)
    connection.create_function("m3rag_pattern", 3, _pattern, deterministic=True)


def field_rows(passage: Passage) -> Iterator[tuple[str, Any]]:
    """Yield the (name, value) rows of a passage, each once."""
    for name, values in fields(passage).items():
        yield from dict.fromkeys((name, row) for value in values for row in _rows(value))


def _rows(value: Found) -> Iterator[str | float | bytes]:
    yield stored(value)
    if isinstance(value, str) and (moment := instant(value)) is not None:
        yield _moment(moment)


def stored(value: Found) -> str | float | bytes:
    """Return a value as it is stored."""
    if value is None:
        return b"\2"
    if isinstance(value, bool):
        return b"\1" if value else b"\0"
    if isinstance(value, str):
        if len(value) <= _WHOLE:
            return value
        return "\0" + hashlib.blake2b(value.encode(), digest_size=20).hexdigest()
    return float(value)


def is_native(tree: Leaf) -> bool:
    """Return whether the engine can test a condition itself; see `convert.engine_filter`."""
    of_dates = isinstance(tree, Range) and tree.of_dates
    own = tree.field in OWN_FIELDS and (of_dates or tree.field != "document_id")
    return not (own or isinstance(tree, Pattern))


def condition(tree: Filter | None, *, indexed: bool = True) -> Condition:
    """Return the condition on the table `passage` that a filter describes.

    Args:
        tree: The filter.
        indexed: Whether the table `field` has all rows that this version stores. If not, the
            condition reads every passage.
    """
    match tree:
        case None:
            return EVERYTHING
        case _ if not indexed:
            return _slow_condition(tree)
        case And(parts):
            return _joined(" AND ", parts)
        case Or(parts):
            return _joined(" OR ", parts)
        case Not(part):
            test, parameters = condition(part)
            return f"NOT {test}", parameters
        case _ if tree.field in OWN_FIELDS:
            own, parameters = _own(tree)
            if tree.field.startswith("$"):
                return own, parameters
            test, more = _field(tree)
            return f"({own} OR {test})", [*parameters, *more]
    return _field(tree)


def _own(tree: Leaf) -> Condition:
    """Return the test of a passage's own id or document id, which are strings."""
    column = tree.field.removeprefix("$")
    there = f"{column} IS NOT NULL"
    match tree:
        case Equals(_, value):
            values: Sequence[Any] = [value]
        case In(_, values):
            pass
        case Exists():
            return f"({there})", []
        case Pattern(_, kind, text):
            return f"({there} AND m3rag_pattern(?, ?, {column}))", [kind, text]
        case Range():  # of numbers, a string is never one
            return _slow_condition(tree) if tree.of_dates else _NOTHING
    test, parameters = one_of(column, [v for v in values if isinstance(v, str)])
    return f"({there} AND {test})", parameters


def _field(tree: Leaf) -> Condition:
    """Return the test of the values in the table `field`."""
    test, parameters = _value(tree)
    return f"key IN (SELECT key FROM field WHERE name = ? AND {test})", [tree.field, *parameters]


def _value(tree: Leaf) -> Condition:
    match tree:
        case Equals(_, value):
            return "value = ?", [stored(value)]
        case In(_, values):
            return one_of("value", [stored(v) for v in values])
        case Exists():
            return EVERYTHING
        case Range():
            return _range(tree)
        case Pattern(_, kind, text):
            # Of a long string, and of one that begins with a NUL, the passage is read.
            long = "(SELECT content FROM passage AS long WHERE long.key = field.key)"
            test = (
                f"CASE WHEN typeof(value) <> 'text' THEN 0 WHEN value < char(1) THEN "
                f"{_SLOW.format(content=long)} ELSE m3rag_pattern(?, ?, value) END"
            )
            return test, [_as_json(tree), kind, text]


def _range(tree: Range) -> Condition:
    if tree.of_dates:
        first, last = interval(tree.bounds)
        return "value BETWEEN ? AND ?", [_moment(first), _moment(last)]
    tests = [f"value {_OPERATORS[bound]} ?" for bound in tree.bounds]
    tests.append("value < ''")  # every number is below every string
    return " AND ".join(tests), [float(bound) for bound in tree.bounds.values()]


def _moment(microseconds: int) -> bytes:
    return b"\3" + (microseconds + (1 << 62)).to_bytes(8, "big")


def one_of(column: str, values: Sequence[Any]) -> Condition:
    """Return the test for one of many values; there may be more than SQLite takes parameters."""
    simple = [v for v in values if isinstance(v, float) or (isinstance(v, str) and "\0" not in v)]
    others = [v for v in dict.fromkeys(values) if isinstance(v, bytes) or "\0" in str(v)]
    tests, parameters = [f"{column} IN (SELECT value FROM json_each(?))"], [json.dumps(simple)]
    tests += [f"{column} = ?"] * len(others)
    return f"({' OR '.join(tests)})", [*parameters, *others]


def _joined(operator: str, parts: Sequence[Filter]) -> Condition:
    conditions = [condition(part) for part in parts]
    tests = operator.join(f"({test})" for test, _ in conditions)
    return f"({tests})", [p for _, parameters in conditions for p in parameters]


def _slow_condition(tree: Filter) -> Condition:
    return _SLOW.format(content="content"), [_as_json(tree)]


def _as_json(tree: Filter) -> str:
    return json.dumps(filter_to_dict(tree))


def _slow(tree: str, content: str) -> bool:
    return matches(_parsed(tree), passage_of(content))


@lru_cache(16)
def _parsed(tree: str) -> Filter:
    found = parse_filter(json.loads(tree), CHECKED)
    assert found is not None  # it was one
    return found


def _pattern(kind: str, text: str, value: str) -> bool:
    return matcher(kind, text)(value)
