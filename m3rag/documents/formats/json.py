"""JSON (.json, .jsonl, .ndjson): the records in it, with all fields or those that are named.

The parser uses the standard library's json module. Numbers stay as they are written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from m3rag.documents.formats.content import UNLIMITED, Budget, Content, Writer
from m3rag.documents.formats.records import Records, flattened
from m3rag.errors import DocumentError

_SECONDS_PER_CHARACTER = 1e-6


def parse(text: str, budget: Budget = UNLIMITED) -> Content:
    """Return the records of a list, of a list in an object, or of one line each."""
    budget.more_time(_SECONDS_PER_CHARACTER * len(text))
    writer = Writer()
    records = Records(writer, budget)
    for record in _records(text):
        records.add(flattened(record))
    records.finish()
    return writer.content()._replace(title=None)  # a record is no title


def _records(text: str) -> Iterator[Any]:
    """Yield the records of a JSON value, or of lines of JSON."""
    try:
        value = _value(text)
    except json.JSONDecodeError as error:
        first = text.lstrip().split("\n", 1)[0]
        if "\n" not in text.strip() or not _is_json(first):
            raise DocumentError(f"line {error.lineno} is not JSON: {error.msg}.") from error
        yield from _lines(text)
        return
    if isinstance(value, dict):
        lists = [part for part in value.values() if isinstance(part, list) and part]
        lists = [part for part in lists if all(isinstance(item, dict) for item in part)]
        if len(lists) == 1:
            rest = {name: part for name, part in value.items() if part is not lists[0]}
            value = [*([rest] if rest else []), *lists[0]]
    yield from value if isinstance(value, list) else [value]


def _lines(text: str) -> Iterator[Any]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield _value(line)
            except json.JSONDecodeError as error:
                raise DocumentError(f"line {number} is not JSON: {error.msg}.") from error


def _is_json(text: str) -> bool:
    try:
        _value(text)
    except json.JSONDecodeError:
        return False
    return True


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_int=str, parse_float=str)
    except RecursionError as error:
        raise DocumentError("its values are nested too deep. Flatten them.") from error
