"""Open the folder of a store: lock it, create or upgrade its database, and see that it is whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

from m3rag.closing import closed_on_errors
from m3rag.errors import DataLossWarning, FormatError, StorageError
from m3rag.stores.edge import acknowledged, legacy, reserve, schema, seal
from m3rag.stores.edge.acknowledged import Acknowledged
from m3rag.stores.edge.connection import read_only_connection
from m3rag.stores.edge.counters import State, read_state
from m3rag.stores.edge.database import Database
from m3rag.stores.edge.lock import Lock
from m3rag.stores.edge.seal import Seal, read_seal
from m3rag.stores.edge.verification import damage_message, verify

_VERIFIED_AT_OPEN = 64 << 20  # bytes of a database; a larger one is verified in the background
_NEW_BYTES = 8 << 20  # that the disk must have free for a new index
FILES = (
    *(f"{schema.NAME}{suffix}" for suffix in ("", "-wal", "-shm")),
    *(acknowledged.NAME, reserve.NAME, seal.NAME, "lock", "owner.json"),
)

Widths = tuple[int, int | None]


@dataclass(frozen=True, slots=True)
class Opened:
    """An open folder.

    Attributes:
        lock: The lock; None if the folder is read-only.
        database: The database.
        seal: The seal of the last clean close, if it is intact.
        verified: Whether the whole database was verified.
    """

    lock: Lock | None
    database: Database
    seal: Seal | None
    verified: bool


def open_folder(folder: Path, widths: Widths, *, create: bool) -> Opened:
    """Open a folder.

    Args:
        folder: An existing folder.
        widths: The widths of the dense and the ColBERT vectors; None without ColBERT vectors.
        create: Whether to create a database if there is none.

    Raises:
        FormatError: Something is damaged or missing.
        InUseError: The folder is open already.
        StorageError: It cannot be read or written.
    """
    _check_files(folder)
    read_only = not os.access(folder, os.W_OK)
    lock = None if read_only else Lock(folder)
    try:
        known = _known(folder)
        if not os.path.lexists(folder / schema.NAME):
            _make(folder, widths, known, create=create and not read_only)
        opened = Database(folder, widths, read_only=read_only)
        with closed_on_errors(opened):
            verified = _check(folder, opened, known, found := read_seal(folder))
            if not (opened.has_fields or read_only):  # of an older format
                opened.make_fields()
            return Opened(lock, opened, found, verified)
    except BaseException:
        if lock is not None:
            lock.release()
        raise


def unfinished(folder: Path) -> set[str]:
    """Return the names of files that an interrupted creation of an index leaves."""
    leftovers = {f"{schema.NAME}.creating", "lock", "owner.json"}
    leftovers |= {path.name for path in folder.glob("m3rag.json.*")}
    path = folder / schema.NAME
    known = acknowledged.read(folder)
    if (known is None or known.count == 0) and (not path.exists() or _is_empty(path)):
        leftovers |= {*FILES, *(engine.name for engine in folder.glob(f"{seal.PREFIX}*"))}
    return leftovers


def lost_changes(folder: Path, state: State) -> list[str]:
    """Return how many acknowledged changes a database has lost, as a sentence, if any."""
    known, sealed = _known(folder), read_seal(folder)
    newest = max(known.change if known else 0, sealed.change if sealed else 0)
    if state.change >= newest:
        return []
    had = f", and had {known.count}" if known else ""
    lost = newest - state.change
    plural = "changes" if lost > 1 else "change"
    return [f"{folder} has lost its last {lost} {plural}: it has {state.passages} passages{had}."]


def _check_files(folder: Path) -> None:
    """Check that our files are regular ones: opening a FIFO would wait for ever.

    Raises:
        FormatError: One is not.
    """
    for name in FILES:
        path = folder / name
        try:
            mode = path.lstat().st_mode
            # SQLite would look for the log of a link beside its target.
            link = stat.S_ISLNK(mode) and path.is_file() and not name.startswith(schema.NAME)
            regular = stat.S_ISREG(mode) or link
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
        if not regular:
            raise FormatError(
                f"{path} is not a regular file. Remove it; if it is {schema.NAME}, restore a "
                "backup."
            )


def _is_empty(path: Path) -> bool:
    try:
        with contextlib.closing(read_only_connection(path)) as connection:
            return read_state(connection).next_key == 1
    except (sqlite3.Error, OSError):
        return False


def _known(folder: Path) -> Acknowledged | None:
    try:
        return acknowledged.read(folder)
    except OSError as error:
        raise StorageError(
            f"{folder / acknowledged.NAME} cannot be read: {error.strerror}."
        ) from error


def _make(folder: Path, widths: Widths, known: Acknowledged | None, *, create: bool) -> None:
    """Make the missing database of a new index or of one with an older format.

    Raises:
        FormatError: It should exist.
        StorageError: There is too little space.
    """
    if (folder / "edge").is_dir():
        legacy.upgrade(folder, widths)
        return
    lost = known.count if known is not None else 0
    if not create or lost:
        raise FormatError(
            f"{folder / schema.NAME} is missing"
            + (f", and with it {lost} passages" if lost else "")
            + f". Restore a backup, or start again with an empty index: m3rag repair --in {folder}."
        )
    free = shutil.disk_usage(folder).free
    if free < _NEW_BYTES:
        raise StorageError(
            f"The disk of {folder} has {free >> 20} MB free, and {_NEW_BYTES >> 20} MB are needed "
            "for a new index. Free some space and try again."
        )
    schema.create(folder, widths)


def _check(folder: Path, opened: Database, known: Acknowledged | None, sealed: Seal | None) -> bool:
    """Check that nothing is missing; return whether everything was verified.

    Raises:
        FormatError: Something is damaged or missing.
    """
    for other in (known, sealed):
        if other is not None and other.identity != opened.identity:
            raise FormatError(
                f"{opened.path} belongs to another index. Put the right one back, restore a "
                f"backup, or accept this one: m3rag repair --in {folder}."
            )
    for lost in lost_changes(folder, opened.state()):
        if known is None or not known.before_reboot or sealed is not None:
            raise FormatError(
                f"{lost} {schema.NAME} or its log was damaged, removed or replaced. Restore a "
                f"backup, or accept what is left: m3rag repair --in {folder}."
            )
        message = f"{lost} The system was restarted before they reached the disk; add them again."
        warnings.warn(message, DataLossWarning, stacklevel=2)
        opened.accept_loss()
    status = opened.path.stat()
    changed = sealed is not None and sealed.database != (status.st_size, status.st_mtime_ns)
    if status.st_size > _VERIFIED_AT_OPEN and not changed:
        return False
    result = verify(opened)
    if result.problems:
        raise FormatError(damage_message(opened.path, result))
    return True
