"""The store in memory: exact, in numpy, for notebooks and as the reference for other stores.

A search reads all passages, so it suits thousands of them, not millions.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import RLock
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from m3rag.documents import Passage
from m3rag.encoding import MultiVectors, SparseVectors
from m3rag.scoring.inverted import InvertedLists
from m3rag.scoring.scores import colbert_scores
from m3rag.stores.base import Candidates, Floats, Points, QueryPlan, Widths, by_id
from m3rag.stores.exact import Rows, Table, candidates
from m3rag.stores.filters import Filter, matches

_STACKED = 64  # passages whose ColBERT vectors are stacked at a time


@dataclass(frozen=True, slots=True, eq=False)
class _Point:
    """A passage with copies of its vectors."""

    passage: Passage
    dense: Floats
    sparse: tuple[NDArray[np.int32], Floats]
    bm25: tuple[NDArray[np.int32], Floats]
    colbert: NDArray[np.floating] | None


class MemoryStore:
    """Points in a dict, scored exactly."""

    def __init__(self) -> None:
        self._points: dict[str, _Point] = {}
        self._cached_table: tuple[list[_Point], Table] | None = None
        self._lock = RLock()

    def add(self, points: Points, *, durable: bool = False) -> None:
        """Store points; a point replaces an older one with the same id.

        Memory is never durable, whatever `durable` is.
        """
        with self._lock:
            for i, passage in enumerate(points.passages):
                point = points[i : i + 1]
                self._points[passage.id] = _Point(
                    passage,
                    point.dense[0].copy(),
                    point.sparse.rows(0),
                    point.bm25.rows(0),
                    None if point.colbert is None else point.colbert[0],
                )
            self._cached_table = None

    def update(self, passages: Sequence[Passage], *, ids: Sequence[str] | None = None) -> int:
        """Replace the passages that exist, and keep their vectors; return their number."""
        with self._lock:
            new = {i: p for i, p in by_id(passages, ids).items() if i in self._points}
            points = [replace(self._points[i], passage=passage) for i, passage in new.items()]
            for i in new:
                del self._points[i]
            self._points |= {point.passage.id: point for point in points}
            self._cached_table = None
            return len(new)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete the passages that exist, and return their number."""
        with self._lock:
            removed = [self._points.pop(i, None) for i in ids]
            self._cached_table = None
            return sum(point is not None for point in removed)

    def delete_where(self, where: Filter) -> int:
        """Delete the passages that match, and return their number."""
        with self._lock:
            return self.delete([i for i, p in self._points.items() if matches(where, p.passage)])

    def get(self, ids: Sequence[str]) -> list[Passage | None]:
        """Return the passages in the order of `ids`; None for an id that does not exist."""
        with self._lock:
            found = [self._points.get(i) for i in ids]
        return [None if point is None else point.passage for point in found]

    def term_weights(self, ids: Sequence[str]) -> list[dict[int, float]]:
        """Return the sparse vectors in the order of `ids`; empty for an id that does not exist."""
        with self._lock:
            found = [self._points.get(i) for i in ids]
        return [{} if p is None else SparseVectors.from_rows([p.sparse])[0] for p in found]

    def dense_vectors(self, ids: Sequence[str]) -> list[Floats | None]:
        """Return the dense vectors `(d,)` in the order of `ids`; None for an unknown id."""
        with self._lock:
            found = [self._points.get(i) for i in ids]
        return [None if point is None else point.dense.copy() for point in found]

    def count(self, where: Filter | None = None) -> int:
        """Return the number of passages, or of those that match."""
        with self._lock:
            return sum(where is None or matches(where, p.passage) for p in self._points.values())

    def scan(
        self, where: Filter | None, after: str | None, limit: int
    ) -> tuple[list[Passage], str | None]:
        """Return a page of the passages that match, in the order of their ids."""
        with self._lock:
            ids = sorted(self._points)
            found = []
            for i in ids[0 if after is None else bisect.bisect_right(ids, after) :]:
                passage = self._points[i].passage
                if where is None or matches(where, passage):
                    found.append(passage)
                    if len(found) == limit:
                        return found, i
            return found, None

    def search(self, plans: Sequence[QueryPlan]) -> list[Candidates]:
        """Return the candidates of each plan."""
        with self._lock:
            points, table = self._table()
        return [_candidates(points, table, plan) for plan in plans]

    def optimize(self) -> None:
        """Do nothing: there is nothing to rearrange."""

    def close(self) -> None:
        """Delete all points."""
        with self._lock:
            self._points.clear()
            self._cached_table = None

    def _table(self) -> tuple[list[_Point], Table]:
        if self._cached_table is None:
            points = list(self._points.values())
            table = Table(
                [p.passage.id for p in points],
                np.stack([p.dense for p in points]) if points else np.zeros((0, 0), np.float32),
                InvertedLists(SparseVectors.from_rows([p.sparse for p in points])),
                InvertedLists(SparseVectors.from_rows([p.bm25 for p in points])),
            )
            self._cached_table = points, table
        return self._cached_table


class MemoryLocation:
    """The location of an index in memory: always new, and gone when the index is closed."""

    engine: ClassVar[str] = "memory"
    path: ClassVar[None] = None

    def __init__(self) -> None:
        self._records: dict[str, bytes] = {}

    def __str__(self) -> str:
        return "memory"

    def exists(self) -> bool:
        """Return False: memory keeps nothing from an earlier index."""
        return False

    def check_new(self, *, create: bool) -> None:
        """Do nothing: memory can always hold a new index, whatever `create` is."""

    def label(self, name: str) -> str:
        """Return the name of a record."""
        return name

    def read(self, name: str) -> bytes | None:
        """Return a record; None if it does not exist."""
        return self._records.get(name)

    def write(self, name: str, content: bytes) -> None:
        """Keep a record."""
        self._records[name] = content

    def open_store(self, widths: Widths) -> MemoryStore:
        """Return an empty store, which takes vectors of any width."""
        return MemoryStore()


def _candidates(points: Sequence[_Point], table: Table, plan: QueryPlan) -> Candidates:
    where = plan.where
    allowed = np.arange(len(points))
    if where is not None:
        allowed = allowed[[matches(where, point.passage) for point in points]]

    def colbert(rows: Rows) -> Floats:
        assert plan.colbert is not None
        parts = []
        for start in range(0, len(rows), _STACKED):
            found = [points[row].colbert for row in rows[start : start + _STACKED]]
            stacked = MultiVectors.from_rows([v for v in found if v is not None])
            parts.append(colbert_scores(plan.colbert, stacked))
        return np.concatenate(parts)

    return candidates(table, plan, allowed, colbert)
