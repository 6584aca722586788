"""The passages of an index and their vectors in a SQLite file: the source of truth.

SQLite keeps every committed change if a process is killed, refuses a full disk without harm, and
copies itself while it is in use. Everything else in the folder can be made again from this file.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from m3rag.closing import closed_on_errors
from m3rag.documents import Passage
from m3rag.errors import FormatError, M3Error, StorageError
from m3rag.stores.base import Points
from m3rag.stores.edge import changes, connection, fields
from m3rag.stores.edge.acknowledged import Record
from m3rag.stores.edge.conditions import Condition, condition, one_of, register
from m3rag.stores.edge.counters import State, read_identity, read_state
from m3rag.stores.edge.rows import COLUMNS, Row, rows_of
from m3rag.stores.edge.schema import NAME
from m3rag.stores.filters import Filter

_LOG_BYTES = 4 << 20  # of the log, from which it is written into the database
_CHUNK = 256  # rows that are read at a time
_FREED_PAGES = 1_000  # that `vacuum` gives back in one transaction


class Database:
    """The open SQLite file of an index.

    Args:
        folder: The folder of the index.
        widths: The widths of the dense and the ColBERT vectors; no ColBERT width without them.
        read_only: Whether nothing in the folder may change.
        quiet: Whether nothing is acknowledged: the database is only verified.
        name: The name of the file.

    Attributes:
        has_fields: Whether filters can use the table `field`; not in an index of an older format.

    Raises:
        FormatError: The file is damaged, or has vectors of other widths.
        StorageError: It cannot be opened.
    """

    def __init__(
        self,
        folder: Path,
        widths: tuple[int, int | None],
        *,
        read_only: bool = False,
        quiet: bool = False,
        name: str = NAME,
    ) -> None:
        self.path = folder / name
        self.colbert_dim = widths[1]
        self.read_only = read_only
        self._writing = threading.RLock()
        with self._errors("open"):
            self._connections = connection.Connections(self.path, read_only=read_only)
            self._reading = self._writing if self._connections.shared else threading.RLock()
            self._inode = _inode(self.path)
            with closed_on_errors(self._connections):
                self._check_widths(widths)
                self.identity = read_identity(self._connections.reader)
                self.has_fields = fields.is_current(self._connections.reader)
                for each in (self._connections.reader, self._connections.writer):
                    register(each)
                silent = read_only or quiet or name != NAME
                self._record = None if silent else Record(folder, self.identity)
        self._owner = os.getpid()
        self._unwritten = 0  # bytes since the log was last written into the database

    def state(self) -> State:
        """Return the counters."""
        with self._read("read") as reader:
            return read_state(reader)

    def add(self, points: Points, *, durable: bool) -> tuple[list[Row], list[int]]:
        """Store points in one transaction; a point replaces an older one with the same id.

        Returns:
            The rows of the points, and the keys of the rows they replaced.
        """
        with self._write("add", durable=durable) as (writer, state):
            rows = list(rows_of(points, state.next_key))
            replaced = changes.remove(writer, *one_of("id", [row.id for row in rows]))
            for row in rows:
                self._unwritten += changes.insert(writer, row)
            writer.execute("UPDATE state SET next_key = ?", [state.next_key + len(rows)])
        return rows, replaced

    def update(self, new: Mapping[str, Passage]) -> tuple[list[Row], list[int]]:
        """Replace the passages that exist, by id, and keep their vectors; return as `add` does."""
        with self._write("update") as (writer, state):
            found = changes.read(writer, *one_of("id", [*new]))
            rows = [r.renewed(new[r.id], state.next_key + i) for i, r in enumerate(found)]
            ids = dict.fromkeys([*(row.id for row in found), *(row.id for row in rows)])
            replaced = changes.remove(writer, *one_of("id", [*ids]))
            for row in rows:
                self._unwritten += changes.insert(writer, row)
            writer.execute("UPDATE state SET next_key = ?", [state.next_key + len(rows)])
        return rows, replaced

    def insert(self, rows: Sequence[Row]) -> None:
        """Insert rows with their own keys, which must be new."""
        with self._write("add") as (writer, state):
            for row in rows:
                self._unwritten += changes.insert(writer, row)
            next_key = max([state.next_key, *(row.key + 1 for row in rows)])
            writer.execute("UPDATE state SET next_key = ?", [next_key])

    def delete(self, test: str, parameters: Sequence[Any], *, limit: int = -1) -> list[int]:
        """Delete the passages that meet a condition, at most `limit`, and return their keys."""
        with self._write("delete") as (writer, _):
            if limit >= 0:
                test = f"key IN (SELECT key FROM passage WHERE {test} LIMIT {limit})"
            return changes.remove(writer, test, parameters)

    def remember(self, name: str, content: bytes) -> None:
        """Keep a copy of a record of the index, such as its manifest."""
        if self.recall(name) == content or self.read_only:
            return
        with self._write("write") as (writer, _):
            writer.execute("INSERT OR REPLACE INTO record VALUES (?, ?)", [name, content])

    def recall(self, name: str) -> bytes | None:
        """Return the copy of a record; None if there is none."""
        found = self.query("SELECT content FROM record WHERE name = ?", [name])
        return bytes(found[0][0]) if found else None

    def condition(self, where: Filter | None) -> Condition:
        """Return the condition on the table `passage` that a filter describes."""
        return condition(where, indexed=self.has_fields)

    def make_fields(self) -> None:
        """Make the table `field` again, so that filters can use it."""
        with self._write("upgrade") as (writer, _):
            fields.remake(writer)
        self.has_fields = True

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query."""
        with self._read("read") as reader:
            return reader.execute(sql, parameters).fetchall()

    def rows(self, after: int = 0) -> Iterator[list[Row]]:
        """Yield all rows in the order of their keys, without ColBERT vectors, in chunks."""
        sql = f"SELECT {COLUMNS}, NULL FROM passage WHERE key > ? ORDER BY key LIMIT {_CHUNK}"
        while found := self.query(sql, [after]):
            rows = [Row(*row) for row in found]
            keys = [after, *(row.key for row in rows)]
            if any(later <= earlier for earlier, later in pairwise(keys)):
                raise FormatError(f"{self.path} is damaged: its keys are not in order.")
            yield rows
            after = rows[-1].key

    def accept_loss(self) -> None:
        """Forget acknowledged changes that a power cut lost."""
        if self._record is not None:
            state = self.state()
            with self._errors("write"):
                self._record.reset(state.change, state.passages)

    @property
    def log_bytes(self) -> int:
        """The size of the log, which the database may grow by when the log is written into it."""
        try:
            return Path(f"{self.path}-wal").stat().st_size
        except OSError:
            return 0

    def flush(self) -> None:
        """Write the log into the database and flush both.

        Raises:
            StorageError: The disk is full, or something else reads the database.
        """
        with self._errors("write"), self._writing:
            connection.write_log(self._connections.writer)
            self._unwritten = 0

    def checkpoint(self) -> bool:
        """Do as `flush` does if it is possible, and return whether it was."""
        try:
            self.flush()
        except StorageError:
            return False
        return True

    def vacuum(self) -> None:
        """Give the space of deleted passages back to the file system, as far as the disk allows."""
        with self._errors("optimize"), self._writing:
            writer = self._connections.writer
            with contextlib.suppress(sqlite3.OperationalError):  # a full disk: later, then
                while (free := writer.execute("PRAGMA freelist_count").fetchone()[0]) > 0:
                    writer.execute(f"PRAGMA incremental_vacuum({_FREED_PAGES})").fetchall()
                    if not self.checkpoint():
                        break
                    if writer.execute("PRAGMA freelist_count").fetchone()[0] >= free:
                        break
            self.checkpoint()

    def close(self) -> None:
        """Write the log into the database and close it; a second call does nothing."""
        with self._writing, self._reading:
            if os.getpid() != self._owner:
                return
            if not self.read_only:
                with contextlib.suppress(M3Error):
                    self.checkpoint()
            self._connections.close()
            if self._record is not None:
                self._record.close()

    @contextlib.contextmanager
    def _write(
        self, doing: str, *, durable: bool = False
    ) -> Iterator[tuple[sqlite3.Connection, State]]:
        """Run a transaction; afterwards the change is acknowledged."""
        self._check_owner()  # before a lock that another thread held when the process forked
        with self._errors(doing), self._writing:
            self.check_place()
            writer = self._connections.writer
            writer.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            try:
                writer.execute("BEGIN IMMEDIATE")
                yield writer, read_state(writer)
                writer.execute("UPDATE state SET change = change + 1")
                state = read_state(writer)
                writer.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    if writer.in_transaction:
                        writer.execute("ROLLBACK")
                raise
            if self._record is not None:
                self._record.write(state.change, state.passages)
            if self._unwritten > _LOG_BYTES:
                with contextlib.suppress(sqlite3.OperationalError):  # the log keeps what it has
                    writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                    self._unwritten = 0

    @contextlib.contextmanager
    def _read(self, doing: str) -> Iterator[sqlite3.Connection]:
        self._check_owner()  # before a lock that another thread held when the process forked
        with self._errors(doing), self._reading:
            yield self._connections.reader

    def _errors(self, doing: str) -> contextlib.AbstractContextManager[None]:
        return connection.errors(self.path, doing)

    def _check_widths(self, widths: tuple[int, int | None]) -> None:
        found = read_state(self._connections.reader).widths
        if json.loads(found) != list(widths):
            raise FormatError(
                f"{self.path} has vectors of the widths {found} (dense, ColBERT), but the manifest "
                f"says {json.dumps(widths)}. Restore the manifest: m3rag repair --in "
                f"{self.path.parent}."
            )

    def check_place(self) -> None:
        """Check that a change would not be lost.

        Raises:
            StorageError: The folder is read-only, or was removed or renamed.
        """
        if self.read_only:
            raise StorageError(
                f"{self.path.parent} is read-only: it can be searched, but not changed."
            )
        if _inode(self.path) != self._inode:
            raise StorageError(
                f"{self.path.parent} was removed, renamed or replaced while it was open. Nothing "
                "more can be stored in it. Open the index at its new place."
            )

    def _check_owner(self) -> None:
        if os.getpid() != self._owner:
            raise StorageError(
                f"This index was opened in process {self._owner} and cannot be used in its fork "
                f"{os.getpid()}. Open it after the fork, in one process at a time."
            )


def _inode(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        return (path.stat().st_dev, path.stat().st_ino)
    return None
