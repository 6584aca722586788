"""A folder that holds an index: `m3rag.json`, `presets.json` and the files of the store."""

from __future__ import annotations

import errno
import logging
import os
import stat
import weakref
from pathlib import Path

from m3rag.closing import closed_on_errors
from m3rag.errors import FormatError, StorageError
from m3rag.files import flush_folder, write_bytes
from m3rag.stores.base import MANIFEST, Widths
from m3rag.stores.edge import schema, startup, upkeep
from m3rag.stores.edge.store import EdgeStore
from m3rag.stores.health import CheckReport, Count, RepairReport
from m3rag.stores.records import NEXT, RECORD_BYTES, RECORDS, parse

_PRESETS = RECORDS[1]

_log = logging.getLogger("m3rag")


class FolderLocation:
    """An index in a folder.

    Attributes:
        path: The folder.
        engine: The storage engine's name.
    """

    engine = "qdrant-edge"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._store: weakref.ref[EdgeStore] | None = None  # keeps copies of the records

    def __str__(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        """Return whether the folder holds an index.

        Raises:
            FormatError: The path is a file.
        """
        try:
            if self.path.exists() and not self.path.is_dir():
                raise FormatError(
                    f"{self.path} is a file, not the folder of an index. Pass a folder."
                )
            return os.path.lexists(self.path / MANIFEST)
        except (OSError, ValueError) as error:  # a loop of links, a NUL in the name
            raise FormatError(f"{str(self.path)!r} cannot be opened: {error}.") from error

    def check_new(self, *, create: bool) -> None:
        """Check that an index can be created in the folder.

        Raises:
            FormatError: `create` is False, or the folder has other files in it.
        """
        if not create:
            state = "holds no index" if self.path.exists() else "does not exist"
            raise FormatError(
                f"{self.path} {state}, and create=False requires an index that exists. Pass its "
                "folder, or create=True to make a new one."
            )
        if not self.path.exists():
            return
        found = {path.name for path in self.path.iterdir()}
        others = sorted(found - startup.unfinished(self.path))
        if schema.NAME in others:
            raise FormatError(
                f"{self.path} has passages, but no {MANIFEST}. Restore it from its copy in the "
                f"database: m3rag repair --in {self.path}."
            )
        if others:
            raise FormatError(
                f"{self.path} is not an m3rag index ({MANIFEST} is missing) and not empty: it has "
                f"{others[0]!r}. Choose a new folder."
            )

    def label(self, name: str) -> str:
        """Return the path of a record."""
        return str(self.path / name)

    def read(self, name: str) -> bytes | None:
        """Return a record; None if it does not exist.

        Raises:
            OSError: The file cannot be read.
        """
        try:
            # Without O_NONBLOCK, opening a FIFO would wait for a writer.
            file = os.open(self.path / name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        except FileNotFoundError:
            if os.path.lexists(self.path / name):
                raise OSError(errno.ENOENT, "it is a link to a missing file") from None
            return None
        with os.fdopen(file, "rb") as opened:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode) or status.st_size > RECORD_BYTES:
                raise OSError(errno.EINVAL, "it is not a small regular file")
            return opened.read(RECORD_BYTES)

    def write(self, name: str, content: bytes) -> None:
        """Write a record atomically, and keep a copy in the open store.

        Raises:
            StorageError: It cannot be written; an older record stays.
        """
        store = None if self._store is None else self._store()
        if store is None:  # an open index whose folder was removed is not made again
            self._make()
        # Before and after: whenever the process is killed, the file is the copy or the next one.
        if store is not None:
            store.remember(f"{name}{NEXT}", content)
        write_bytes(self.path / name, content)
        if store is not None:
            store.remember(name, content)

    def open_store(self, widths: Widths) -> EdgeStore:
        """Open the store, or create it for a new index; see `Location.open_store`.

        Raises:
            FormatError: The store is damaged or missing.
            InUseError: It is open already.
            StorageError: It cannot be opened.
        """
        new = not self.exists() or self._unfinished_format_1()
        self._make()
        store = EdgeStore(self.path, dim=widths.dense, colbert_dim=widths.colbert, create=new)
        self._store = weakref.ref(store)
        with closed_on_errors(store):
            self._check_records(store)
            self._restore_presets(store)
        return store

    def _check_records(self, store: EdgeStore) -> None:
        """Check that the records are those that this index has written.

        Raises:
            FormatError: One was replaced by that of another index, or by an older one.
        """
        for problem in upkeep.foreign_records(self.path, store.database):
            raise FormatError(
                f"{problem} Restore it from its copy in the database: m3rag repair --in "
                f"{self.path}."
            )

    def _restore_presets(self, store: EdgeStore) -> None:
        """Write presets that were removed again, from their copy in the database."""
        copy = store.database.recall(_PRESETS)
        missing = not os.path.lexists(self.path / _PRESETS)
        if missing and copy is not None and not store.database.read_only:
            _log.warning("%s was missing; its copy in the database was restored", _PRESETS)
            write_bytes(self.path / _PRESETS, copy)

    def check(self, progress: Count) -> CheckReport:
        """Verify every byte of the index; see `m3rag.index.maintenance.check`."""
        return upkeep.check(self.path, progress)

    def repair(self, progress: Count) -> RepairReport:
        """Keep everything that is intact; see `m3rag.index.maintenance.repair`."""
        return upkeep.repair(self.path, progress)

    def backup(self, target: Path, progress: Count) -> int:
        """Copy the index; see `m3rag.index.maintenance.backup`."""
        return upkeep.backup(self.path, target, progress)

    def _unfinished_format_1(self) -> bool:
        """Return whether an old version was killed between its manifest and its first file."""
        try:
            content = self.read(MANIFEST)
            return content is not None and parse(content).get("format") == 1
        except (OSError, ValueError):
            return False

    def _make(self) -> None:
        try:
            if not self.path.is_dir():
                self.path.mkdir(parents=True, exist_ok=True)
                flush_folder(self.path.parent)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be created: {error.strerror}.") from error
