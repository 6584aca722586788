"""The search engine of a folder: a cache of the database's vectors, made again when in doubt.

The engine finds the best passages by dense, sparse and BM25 scores. It holds nothing that the
database does not hold. After a killed process, an error or any damage, its files are thrown away.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3rag.encoding import SparseVectors
from m3rag.errors import M3Error, StorageError
from m3rag.stores.base import Floats
from m3rag.stores.edge import seal
from m3rag.stores.edge.client import EngineError, EngineProcess
from m3rag.stores.edge.database import Database
from m3rag.stores.edge.rows import Row, dense_of, sparse_of
from m3rag.stores.filter_fields import fields

_RESERVE_BYTES = 48 << 20  # that its log and its segments take at least
_GROWTH = 3  # bytes on the disk for each byte of a vector: log, segment, merge
_RETRY_S = 30.0  # after which an engine that could not be made is tried again
_MESSAGE_ROWS = 256  # rows of a message: a search waits for one, about 50 ms

_OPTIMIZED = "optimized"  # the record of the database that says that it was

_log = logging.getLogger("m3rag")


class Engine:
    """The engine of a store. Its methods never fail because of the engine: they return None.

    The caller makes sure that `add`, `delete`, `optimize` and `ready` run one at a time.

    Attributes:
        process: The running engine; None while there is none.
        unopened: The seal of files that are kept and were not needed yet.
    """

    def __init__(self, home: Path, database: Database, dim: int, quantize_from: int) -> None:
        self._home = home
        self._database = database
        self._dim = dim
        self._quantize_from = quantize_from
        self._folder: str | None = None
        self._retry_at = 0.0
        self.process: EngineProcess | None = None
        self.unopened: seal.Seal | None = None

    def open(self, found: seal.Seal | None) -> None:
        """Keep the engine's files if they are sealed, else make them again.

        An engine whose files are kept starts, after they are checked, when it is first needed: to
        list, count or fetch passages, it is not.
        """
        if found is not None and found.change == self._database.state().change:
            self.unopened = found
        self._sweep(None if self.unopened is None else self.unopened.folder)
        if self.unopened is None:
            self.ready()

    @property
    def running(self) -> bool:
        """Whether the engine can search now."""
        return self.process is not None and self.process.pid is not None

    def ready(self) -> bool:
        """Start the engine, or make it if there is none; return whether it can search."""
        if self.running:
            return True
        sealed, self.unopened = self.unopened, None
        if sealed is not None and sealed.holds(self._home):
            try:
                self._start(sealed.folder)
            except (M3Error, OSError) as error:
                self._drop(error, retry=True)  # it is made again below, not after a pause
            else:
                return True
        if time.monotonic() < self._retry_at:
            return False
        try:
            self._check_space(self._database.state().passages * self._dim * 4)
            self._build()
        except (M3Error, OSError) as error:
            self._drop(error)
            return False
        return True

    def add(self, rows: Sequence[Row]) -> None:
        """Add the vectors of new rows; without an engine, it gets them when it is made."""
        if self._follows():
            with self._changing():
                self._check_space(sum(len(row.dense) + len(row.sparse) for row in rows))
                self._send(rows)

    def delete(self, keys: Sequence[int]) -> None:
        """Remove rows."""
        if self._follows():
            with self._changing():
                self._call({"op": "delete", "keys": list(keys)})

    def optimize(self) -> None:
        """Merge segments, drop deleted points, and quantize large indexes."""
        self._retry_at = 0.0
        if not self._database.read_only:
            self._database.remember(_OPTIMIZED, b"yes")
        if self.ready():
            with self._changing():
                self._check_space(self._database.state().passages * self._dim * 4)
                self._call({"op": "optimize", "quantize_from": self._quantize_from})

    def search(
        self, plans: list[dict[str, Any]], arrays: Sequence[NDArray[Any]]
    ) -> list[tuple[list[int], Floats]] | None:
        """Return the keys of each plan's candidates and their scores `(channels, n)`.

        None if the engine cannot.
        """
        process = self.process
        if process is None:
            return None
        try:
            _, found = process.call({"op": "search", "plans": plans}, arrays)
        except EngineError as error:
            _log.warning("%s: the engine cannot search: %s", self._home, error)
            return None
        except (StorageError, OSError) as error:
            if self.process is process:
                self._drop(error, retry=True)
            return None
        return [(k.tolist(), s) for k, s in zip(found[::2], found[1::2], strict=True)]

    def close(self) -> str | None:
        """End the process; return the name of its folder if it has flushed everything."""
        process, self.process = self.process, None
        if process is None or process.pid is None:
            return None
        return self._folder if process.close() else None

    def _follows(self) -> bool:
        """Return whether there is an engine that must follow a change, after starting it."""
        return self.running or (self.unopened is not None and self.ready())

    def _build(self) -> None:
        """Make the engine's files from the database."""
        count = self._database.state().passages
        if count >= _MESSAGE_ROWS:
            _log.info("%s: making the search index of %d passages", self._home, count)
        self._sweep(None)
        self._start(f"{seal.PREFIX}{secrets.token_hex(4)}")
        for rows in self._database.rows():
            self._send(rows)
        if count >= self._quantize_from and self._database.recall(_OPTIMIZED) is not None:
            self._call({"op": "optimize", "quantize_from": self._quantize_from})

    def _start(self, folder: str) -> None:
        self._folder = folder
        path = str(self._home / folder)
        self.process = EngineProcess({"op": "open", "folder": path, "dim": self._dim})

    def _send(self, rows: Sequence[Row]) -> None:
        for start in range(0, len(rows), _MESSAGE_ROWS):
            part = rows[start : start + _MESSAGE_ROWS]
            found = [(row.document_id, fields(row.passage)) for row in part]
            self._call({"op": "add", "fields": found}, _arrays(part))

    def _call(self, body: dict[str, Any], arrays: Sequence[NDArray[Any]] = ()) -> None:
        if self.process is None:
            raise StorageError("The storage engine is not running.")
        self.process.call(body, arrays)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Throw the engine away if a change does not succeed completely."""
        try:
            yield
        except (M3Error, OSError) as error:
            self._drop(error, retry=not isinstance(error, NoSpaceError))
        except BaseException as error:
            self._drop(error, retry=True)
            raise

    def _drop(self, error: BaseException, *, retry: bool = False) -> None:
        """End the engine and remove its files; the next search makes them again."""
        what = "the search engine is made again" if retry else "searching without the engine"
        _log.warning("%s: %s: %s", self._home, what, error)
        process, self.process = self.process, None
        self._retry_at = 0.0 if retry else time.monotonic() + _RETRY_S
        if process is not None:
            process.kill()
        with suppress(OSError):
            self._sweep(None)

    def _sweep(self, kept: str | None) -> None:
        """Remove the engine folders of earlier runs."""
        for path in [*self._home.glob(f"{seal.PREFIX}*"), self._home / "edge"]:
            if path.name != kept and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)

    def _check_space(self, n_bytes: int) -> None:
        """Refuse early: the engine maps its files, and a full disk would kill it.

        Raises:
            NoSpaceError: There is too little free space.
        """
        needed = _RESERVE_BYTES + _GROWTH * n_bytes
        free = shutil.disk_usage(self._home).free
        if free < needed:
            raise NoSpaceError(
                f"the disk has {free >> 20} MB free, and the engine needs {needed >> 20} MB. "
                "Searches read the whole database until there is space."
            )


class NoSpaceError(StorageError):
    """There is too little free space for the engine."""


def _arrays(rows: Sequence[Row]) -> list[NDArray[Any]]:
    """Return the arrays of a message, in the order in which `convert.points` reads them."""
    sparse = SparseVectors.from_rows([sparse_of(row.sparse) for row in rows])
    bm25 = SparseVectors.from_rows([sparse_of(row.bm25) for row in rows])
    return [
        np.array([row.key for row in rows], np.int64),
        np.stack([dense_of(row.dense) for row in rows]),
        *(sparse.indptr, sparse.indices, sparse.values),
        *(bm25.indptr, bm25.indices, bm25.values),
    ]
