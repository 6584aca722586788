"""The store in a folder: passages and vectors in SQLite, searched by qdrant-edge.

The database is the truth, and the engine is a cache of it: see `database` and `engine`. ColBERT
vectors are scored here, from the database. Where the engine cannot run (a full disk, a read-only
folder), searches are exact in numpy, with the same hits.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
import weakref
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from m3rag.documents import Passage
from m3rag.errors import ClosedError, FormatError, M3Error, StorageError
from m3rag.stores.base import Candidates, Floats, Points, QueryPlan, by_id
from m3rag.stores.edge import startup
from m3rag.stores.edge.client import EngineProcess
from m3rag.stores.edge.conditions import one_of
from m3rag.stores.edge.engine import Engine
from m3rag.stores.edge.parts import parts, size_of
from m3rag.stores.edge.reserve import Reserve
from m3rag.stores.edge.rows import Row, dense_of, passage_of, weights_of
from m3rag.stores.edge.seal import Seal, remove_seal
from m3rag.stores.edge.searcher import Searcher
from m3rag.stores.edge.verification import verify_in_background
from m3rag.stores.filters import Filter

_log = logging.getLogger("m3rag")

QUANTIZE_FROM = 10_000  # passages; below, an exact scan of 1024 dimensions takes a few ms
_RESERVE_BYTES = 16 << 20  # kept free on the disk for the log
_GROWTH = 2  # bytes on the disk per byte added: log and database
_DELETED_AT_ONCE = 8  # passages, on a full disk
_UPDATED_AT_ONCE = 64  # passages in a transaction; a search waits for one


class EdgeStore:
    """Points in a folder.

    Args:
        folder: An existing folder that only this store uses.
        dim: The width of the dense vectors.
        colbert_dim: The width of the ColBERT vectors; None if they are not stored.
        quantize_from: The number of passages from which `optimize` quantizes the dense vectors.
        create: Whether to create the store if the folder has none.

    Raises:
        FormatError: The folder's files are damaged or incomplete.
        InUseError: Another process, or this one, has the folder open.
        StorageError: The folder cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        *,
        dim: int,
        colbert_dim: int | None,
        quantize_from: int = QUANTIZE_FROM,
        create: bool = True,
    ) -> None:
        self._folder = folder
        self._changing = threading.RLock()  # one change at a time, in the database and the engine
        self._closed = False
        self._damage: str | None = None
        opened = startup.open_folder(folder, (dim, colbert_dim), create=create)
        self.database = opened.database
        self._engine = (
            None if opened.lock is None else Engine(folder, self.database, dim, quantize_from)
        )
        self._finalizer = weakref.finalize(
            self, _close, os.getpid(), folder, opened, self._engine
        )  # also at interpreter exit
        self._searcher = Searcher(self.database, self._engine, colbert_dim, self._changing)
        if self._engine is not None:
            Reserve(folder).keep()
            self._engine.open(opened.seal)
        if not opened.verified:
            verify_in_background(self.database, weakref.WeakMethod(self._report_damage))

    @property
    def process(self) -> EngineProcess | None:
        """The engine's process; None while it does not run."""
        return None if self._engine is None else self._engine.process

    def add(self, points: Points, *, durable: bool = False) -> None:
        """Store points; a point replaces an older one with the same id."""
        for part in parts(points):
            with self._change():
                self._check_disk(size_of(part))
                self._renew(*self.database.add(part, durable=durable))

    def update(self, passages: Sequence[Passage], *, ids: Sequence[str] | None = None) -> int:
        """Replace the passages that exist, and keep their vectors; return their number."""
        new = list(by_id(passages, ids).items())
        number = 0
        for start in range(0, len(new), _UPDATED_AT_ONCE):
            with self._change():
                self._check_disk(0)
                rows, replaced = self.database.update(dict(new[start : start + _UPDATED_AT_ONCE]))
                number += len(rows)
                self._renew(rows, replaced)
        return number

    def delete(self, ids: Sequence[str]) -> int:
        """Delete the passages that exist, and return their number."""
        with self._change():
            return self._delete(*one_of("id", ids))

    def delete_where(self, where: Filter) -> int:
        """Delete the passages that match, and return their number."""
        with self._change():
            return self._delete(*self.database.condition(where))

    def get(self, ids: Sequence[str]) -> list[Passage | None]:
        """Return the passages in the order of `ids`; None for an id that does not exist."""
        found = self._columns("content", ids)
        return [passage_of(found[i]) if i in found else None for i in ids]

    def term_weights(self, ids: Sequence[str]) -> list[dict[int, float]]:
        """Return the sparse vectors in the order of `ids`; empty for an id that does not exist."""
        found = self._columns("sparse", ids)
        return [weights_of(found[i]) if i in found else {} for i in ids]

    def dense_vectors(self, ids: Sequence[str]) -> list[Floats | None]:
        """Return the dense vectors `(d,)` in the order of `ids`; None for an unknown id."""
        found = self._columns("dense", ids)
        return [dense_of(found[i]) if i in found else None for i in ids]

    def count(self, where: Filter | None = None) -> int:
        """Return the number of passages, or of those that match."""
        self._check_open()
        if where is None:
            return self.database.state().passages
        test, parameters = self.database.condition(where)
        sql = f"SELECT count(*) FROM passage WHERE {test}"
        return int(self.database.query(sql, parameters)[0][0])

    def scan(
        self, where: Filter | None, after: str | None, limit: int
    ) -> tuple[list[Passage], str | None]:
        """Return a page of the passages that match, in the order of their ids."""
        self._check_open()
        test, parameters = self.database.condition(where)
        sql = f"SELECT id, content FROM passage WHERE id > ? AND {test} ORDER BY id LIMIT ?"
        found = self.database.query(sql, [after or "", *parameters, limit + 1])
        if any(
            later <= earlier for earlier, later in pairwise([after or "", *(i for i, _ in found)])
        ):
            raise FormatError(f"{self.database.path} is damaged: its ids are not in order.")
        passages = [passage_of(content) for _, content in found[:limit]]
        return passages, found[limit - 1][0] if len(found) > limit else None

    def search(self, plans: Sequence[QueryPlan]) -> list[Candidates]:
        """Return the candidates of each plan; without a plan, only start the engine."""
        self._check_open()
        if not plans and self._engine is not None:
            with self._changing:
                self._engine.ready()
        return [self._searcher.search(plan) for plan in plans]

    def optimize(self) -> None:
        """Give back space, merge segments, quantize large indexes; searches wait for it."""
        with self._change():
            self.database.vacuum()
            if self._engine is not None:
                self._engine.optimize()

    def remember(self, name: str, content: bytes) -> None:
        """Keep a copy of a record of the index, with which it can be repaired."""
        with self._change():
            self.database.remember(name, content)

    def close(self) -> None:
        """Flush, release the files and end the process; a second call does nothing."""
        with self._changing:
            if not self._closed:
                self._closed = True
                self._finalizer()

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """Hold off other changes; from now on the engine's files are not those of the seal."""
        with self._changing:
            self._check_open()
            if not self.database.read_only:
                remove_seal(self._folder)
            yield

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("This index is closed. Open it again: M3Index.open(path).")
        if self._damage is not None:
            raise FormatError(self._damage)

    def _report_damage(self, message: str) -> None:
        """End the use of the store, because its database turned out to be damaged."""
        if not self._closed:
            self._damage = message
            _log.error("%s", message)

    def _columns(self, column: str, ids: Sequence[str]) -> dict[str, Any]:
        """Return a column of the passages that exist, by id."""
        self._check_open()
        test, parameters = one_of("id", ids)
        sql = f"SELECT id, {column} FROM passage WHERE {test}"
        return dict(self.database.query(sql, parameters))

    def _delete(self, test: str, parameters: Sequence[Any]) -> int:
        """Delete the passages that meet a condition, on a full disk too."""
        try:
            keys = self.database.delete(test, parameters)
        except StorageError:
            if self.database.read_only or not Reserve(self._folder).release():
                raise
            return self._delete_with_reserve(test, parameters)
        self._forget(keys)
        return len(keys)

    def _delete_with_reserve(self, test: str, parameters: Sequence[Any]) -> int:
        """Delete a few passages at a time, in the space that was kept for it."""
        deleted = 0
        try:
            self.database.checkpoint()
            while keys := self.database.delete(test, parameters, limit=_DELETED_AT_ONCE):
                self._forget(keys)
                deleted += len(keys)
                self.database.checkpoint()
            self.database.vacuum()
        except StorageError as error:
            raise StorageError(f"{deleted} passages were deleted, but no more: {error}") from error
        finally:
            Reserve(self._folder).keep_rest()
        return deleted

    def _forget(self, keys: list[int]) -> None:
        if self._engine is not None and keys:
            self._engine.delete(keys)

    def _renew(self, rows: list[Row], replaced: list[int]) -> None:
        """Give the engine new rows, and then take away those that they replaced."""
        if self._engine is not None:
            self._engine.add(rows)
            if replaced:
                self._engine.delete(replaced)

    def _check_disk(self, n_bytes: int) -> None:
        """Refuse early, so that there is always space to write the log into the database.

        Raises:
            StorageError: There is too little free space to store `n_bytes`.
        """
        self.database.check_place()
        needed = _RESERVE_BYTES + self.database.log_bytes + _GROWTH * n_bytes
        free = shutil.disk_usage(self._folder).free
        if free < needed:
            raise StorageError(
                f"The disk of {self._folder} has {free >> 20} MB free, and {needed >> 20} MB are "
                "needed to write safely. Free some space and try again. Everything added before "
                "is kept and can be searched."
            )


def _close(owner: int, folder: Path, opened: startup.Opened, engine: Engine | None) -> None:
    """Close everything, and seal the engine's files if they are complete."""
    if os.getpid() != owner:
        return
    try:
        unopened = None if engine is None else engine.unopened
        kept = None if engine is None else engine.close()
        if opened.lock is None:
            opened.database.close()
            return
        with contextlib.suppress(M3Error, OSError):
            opened.database.checkpoint()
            change = opened.database.state().change
            opened.database.close()
            Reserve(folder).keep()
            path, identity = opened.database.path, opened.database.identity
            if unopened is not None:
                unopened.after(change, path).write(folder)
            elif kept is not None:
                made = Seal.of(folder, kept, change, path, opened.seal, identity=identity)
                made.write(folder)
        opened.database.close()
    finally:
        if opened.lock is not None:
            opened.lock.release()
