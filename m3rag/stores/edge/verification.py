"""Verify a database: its structure, every checksum, and that nothing is missing."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from m3rag.errors import ClosedError, FormatError, M3Error
from m3rag.stores.edge.conditions import field_rows
from m3rag.stores.edge.counters import DIGEST
from m3rag.stores.edge.database import Database
from m3rag.stores.edge.rows import COLUMNS, Row

_CHUNK = 1_000  # keys that are read at a time
_IDLE = 2.0  # times the time of reading a passage, between two of a verification in the background
_SHOWN = 5  # ids in a message
_MOST_KEYS = 10_000_000  # that are tried where the list of keys is damaged; a minute or two


@dataclass(slots=True)
class Verification:
    """The result of a verification.

    Attributes:
        expected: The number of passages that were acknowledged.
        found: The number of passages that are there and intact.
        damaged: The ids of passages whose checksum is wrong.
        problems: Everything that is wrong, as sentences; empty if all is well.
    """

    expected: int = 0
    found: int = 0
    damaged: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, problem: str) -> None:
        """Add a problem, once."""
        if problem not in self.problems:
            self.problems.append(problem)


def verify(
    database: Database, done: Callable[[int], None] = lambda _: None, *, structure: bool = True
) -> Verification:
    """Read everything and compare it with the checksums and the counters.

    Args:
        database: The open database, which may be in use.
        done: Called with the number of passages verified so far.
        structure: Whether SQLite checks its tables and indexes too; other readers wait for it.

    Raises:
        ClosedError: The database was closed meanwhile.
    """
    result = Verification()
    for step in (_structure, _passages, _orphans) if structure else (_passages,):
        try:
            step(database, result, done)
        except ClosedError:
            raise
        except M3Error as error:
            result.add(f"It cannot be read completely: {error}")
    return result


def _structure(database: Database, result: Verification, _: Callable[[int], None]) -> None:
    for (line,) in database.query("PRAGMA integrity_check(20)"):
        if line != "ok":
            result.add(f"SQLite finds: {line}.")


def _passages(database: Database, result: Verification, done: Callable[[int], None]) -> None:
    """Compare all rows with their checksums, and their sum with the counters."""
    before = database.state()
    if database.query("SELECT 1 FROM passage WHERE key >= ? LIMIT 1", [before.next_key]):
        result.add("Its next key is already taken.")
    result.expected = before.passages
    digest = rows = 0
    for key, row in intact_rows(database):
        rows += 1
        if row is None:
            result.damaged.append(_id(database, key))
        else:
            digest += row.checksum + row.colbert_checksum
        done(rows)
    result.found = rows - len(result.damaged)
    if result.damaged:
        shown = ", ".join(map(repr, result.damaged[:_SHOWN]))
        result.add(f"{len(result.damaged)} of {rows} passages are damaged, such as {shown}.")
    if database.state().change != before.change:  # the counters belong to another moment
        result.expected = max(rows, database.state().passages)
    elif rows != before.passages:
        result.add(f"It has {rows} of {before.passages} passages.")
    elif digest % DIGEST != before.digest and not result.damaged:
        result.add("The sum of its checksums is wrong.")


def damage_message(path: Path, result: Verification) -> str:
    """Return what is wrong with a database and how to repair it."""
    return (
        f"{path} is damaged: {' '.join(result.problems)} Run `m3rag repair --in {path.parent}`, "
        "which keeps every passage that is intact, restore a backup, or index the documents again."
    )


def verify_in_background(
    database: Database, report: Callable[[], Callable[[str], None] | None]
) -> None:
    """Verify the rows of a large database while it is used, in a thread that ends with it.

    Args:
        database: The open database.
        report: A weak reference to a function that is called with what is wrong, if anything is.
    """

    def run() -> None:
        with contextlib.suppress(ClosedError):
            result = verify(database, _pauses(report), structure=False)
            if result.problems and (found := report()) is not None:
                found(damage_message(database.path, result))

    threading.Thread(target=run, name="m3rag-verify", daemon=True).start()


def _pauses(alive: Callable[[], object | None]) -> Callable[[int], None]:
    """Return a function that pauses between two passages, and stops when nobody needs the result.

    Raises:
        ClosedError: The owner of the database is gone.
    """
    last = time.monotonic()

    def pause(_: int) -> None:
        nonlocal last
        if alive() is None:
            raise ClosedError("The index was closed.")
        time.sleep(_IDLE * (time.monotonic() - last))
        last = time.monotonic()

    return pause


def intact_rows(database: Database) -> Iterator[tuple[int, Row | None]]:
    """Yield the key and the row of each passage; None for a row that is damaged."""
    for key in _keys(database):
        try:
            row = _intact_row(database, key)
        except ClosedError:
            raise
        except (M3Error, ValueError, TypeError, KeyError, AttributeError):
            yield key, None
            continue
        if row is not _DELETED:
            yield key, row


_DELETED = Row(0, "", None, "", b"", b"", b"", None)


def _intact_row(database: Database, key: int) -> Row | None:
    """Return a row if its checksums are right, else None; `_DELETED` if it is gone by now."""
    found = database.query(
        f"SELECT {COLUMNS}, vectors, passage.checksum, colbert.checksum FROM passage "
        "LEFT JOIN colbert USING (key) WHERE key = ?",
        [key],
    )
    if not found:
        return _DELETED
    *columns, checksum, colbert_checksum = found[0]
    row = Row(*columns)
    fields = database.query("SELECT name, value FROM field WHERE key = ?", [key])
    right = (
        checksum == row.checksum
        and (colbert_checksum or 0) == row.colbert_checksum
        and (row.colbert is not None) == (database.colbert_dim is not None)
        and (not database.has_fields or Counter(map(tuple, fields)) == _fields(row))
    )
    return row if right else None


def _fields(row: Row) -> Counter[tuple[str, object]]:
    return Counter(field_rows(row.passage))


def _keys(database: Database) -> Iterator[int]:
    """Yield all keys in ascending order; where the list of keys is damaged, every possible one."""
    last = 0
    try:
        while found := database.query(
            f"SELECT key FROM passage WHERE key > ? ORDER BY key LIMIT {_CHUNK}", [last]
        ):
            for (key,) in found:
                if key <= last:  # a damaged tree can lead back to where it was
                    raise FormatError("The keys of the passages are not in order.")
                last = key
                yield key
    except M3Error:
        yield from _possible_keys(database, last)


def _possible_keys(database: Database, last: int) -> Iterator[int]:
    for key in range(last + 1, min(database.state().next_key, last + _MOST_KEYS)):
        try:
            if database.query("SELECT 1 FROM passage WHERE key = ?", [key]):
                yield key
        except M3Error:
            continue


def _id(database: Database, key: int) -> str:
    try:
        return str(database.query("SELECT id FROM passage WHERE key = ?", [key])[0][0])
    except (M3Error, IndexError):
        return f"(key {key})"


def _orphans(database: Database, result: Verification, _: Callable[[int], None]) -> None:
    for table in ("colbert", "field"):
        [(n,)] = database.query(
            f"SELECT count(*) FROM {table} WHERE key NOT IN (SELECT key FROM passage)"
        )
        if n:
            result.add(f"The table {table} has {n} rows of passages that do not exist.")
