"""Connections to the SQLite file of an index, and its errors as ours."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from m3rag.closing import closed_on_errors
from m3rag.errors import ClosedError, FormatError, M3Error, StorageError

PAGE = 8_192  # bytes; ColBERT vectors take many pages each, so not the smallest
_CACHE = -16_384  # KiB, with a minus sign
_BUSY_S = 30.0  # another process may be taking a backup

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_CANNOT_OPEN = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL)


class Connections:
    """The writing and the reading connection to a database.

    With one each, a search never waits for a commit. Where SQLite cannot make its shared-memory
    file (a full disk), both are one connection. A read-only folder has no writing connection.

    Attributes:
        writer: For transactions.
        reader: For everything else.
        shared: Whether they are the same.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.shared = read_only
        if read_only:
            self.reader = self.writer = read_only_connection(path)
            return
        try:
            self.writer = _writing_connection(path, alone=False)
        except sqlite3.OperationalError as error:
            if _primary(error) not in _CANNOT_OPEN:
                raise
            self.writer = _writing_connection(path, alone=True)
            self.shared = True
        with closed_on_errors(self.writer):
            self.reader = self.writer if self.shared else _connect(path, "ro")

    def close(self) -> None:
        """Close both; the last one writes the log into the database and removes it."""
        self.reader.close()
        self.writer.close()


def create(path: Path) -> sqlite3.Connection:
    """Return a writing connection to a new database file."""
    connection = _connect(path, "rwc")
    connection.execute(f"PRAGMA page_size = {PAGE}")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    return connection


def read_only_connection(path: Path) -> sqlite3.Connection:
    """Return a connection that changes nothing, also not beside the file.

    Raises:
        sqlite3.Error: The file is not a database, or is damaged.
    """
    try:
        connection = _connect(path, "ro")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except sqlite3.OperationalError:
        if Path(f"{path}-wal").exists() and Path(f"{path}-wal").stat().st_size:
            raise
        # SQLite wants a shared-memory file, which a read-only file system cannot have.
        connection = _connect(path, "ro&immutable=1")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    return connection


def write_log(connection: sqlite3.Connection) -> None:
    """Write the whole log into the database and flush both.

    Closing a connection does the same, but ignores errors.

    Raises:
        sqlite3.OperationalError: The disk is full, or something else reads the database.
    """
    [(busy, logged, written)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    if busy or logged != written:
        raise sqlite3.OperationalError("the log could not be written into the database")


@contextlib.contextmanager
def errors(path: Path, doing: str) -> Iterator[None]:
    """Raise SQLite's errors as ours.

    Raises:
        FormatError: The file is damaged.
        StorageError: It cannot be read or written.
        ClosedError: The connection is closed.
    """
    try:
        yield
    except M3Error:
        raise
    except sqlite3.ProgrammingError as error:
        if "closed" not in str(error):
            raise
        raise ClosedError("This index is closed. Open it again: M3Index.open(path).") from None
    except sqlite3.DatabaseError as error:
        raise _own(path, doing, error) from error
    except (OSError, OverflowError, UnicodeError, MemoryError) as error:
        name = getattr(error, "filename", None)
        elsewhere = f" ({name})" if name and str(name) != str(path.parent) else ""
        reason = f"{getattr(error, 'strerror', None) or error}{elsewhere}"
        raise StorageError(f"{path.parent}: cannot {doing}: {reason}.") from error


def _own(path: Path, doing: str, error: sqlite3.DatabaseError) -> M3Error:
    code = _primary(error)
    folder = path.parent
    if code in _DAMAGE:
        return FormatError(
            f"{path} is damaged ({error}). Run `m3rag check --in {folder}`, then `m3rag repair "
            f"--in {folder}`, or restore a backup."
        )
    if code == sqlite3.SQLITE_FULL:
        return StorageError(
            f"{folder}: cannot {doing}: the disk is full. Free some space and try again. "
            "Everything added before is kept and can be searched."
        )
    if code == sqlite3.SQLITE_READONLY:
        return StorageError(f"{folder} is read-only: it can be searched, but not changed.")
    return StorageError(f"{folder}: cannot {doing}: {error}. Everything added before is kept.")


def _primary(error: sqlite3.Error) -> int:
    """Return the primary result code of SQLite, without its extension."""
    return int(getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _writing_connection(path: Path, *, alone: bool) -> sqlite3.Connection:
    connection = _connect(path, "rw", alone=alone)
    with closed_on_errors(connection):
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    return connection


def _connect(path: Path, mode: str, *, alone: bool = False) -> sqlite3.Connection:
    url = f"file:{quote(os.fspath(path.absolute()))}?mode={mode}"
    connection = sqlite3.connect(
        url, uri=True, isolation_level=None, check_same_thread=False, timeout=_BUSY_S
    )
    with closed_on_errors(connection):
        if alone:  # before anything that reads the file: no shared memory
            connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        connection.execute(f"PRAGMA cache_size = {_CACHE}")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA secure_delete = FAST").fetchall()
        connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()  # `Database` does it
    return connection
