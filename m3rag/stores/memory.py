"""The store in memory: exact, in numpy, for notebooks and as the reference for other stores.

A search reads all passages, so it suits thousands of them, not millions.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from threading import RLock
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from m3rag.documents import Passage
from m3rag.encoding import MultiVectors, SparseVectors
from m3rag.scoring.bm25 import idf
from m3rag.scoring.fusion import LEXICAL
from m3rag.scoring.inverted import InvertedLists
from m3rag.scoring.scores import colbert_scores, dense_scores
from m3rag.stores.base import Candidates, Floats, Points, QueryPlan, Widths
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


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """All points side by side, in the form that the score functions take."""

    points: list[_Point]
    dense: Floats
    sparse: InvertedLists
    bm25: InvertedLists


class MemoryStore:
    """Points in a dict, scored exactly."""

    def __init__(self) -> None:
        self._points: dict[str, _Point] = {}
        self._cached_table: _Table | None = None
        self._lock = RLock()

    def add(self, points: Points) -> None:
        """Store points; a point replaces an older one with the same id."""
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
            table = self._table()
        return [_candidates(table, plan) for plan in plans]

    def optimize(self) -> None:
        """Do nothing: there is nothing to rearrange."""

    def close(self) -> None:
        """Delete all points."""
        with self._lock:
            self._points.clear()
            self._cached_table = None

    def _table(self) -> _Table:
        if self._cached_table is None:
            points = list(self._points.values())
            self._cached_table = _Table(
                points,
                np.stack([p.dense for p in points]) if points else np.zeros((0, 0), np.float32),
                InvertedLists(SparseVectors.from_rows([p.sparse for p in points])),
                InvertedLists(SparseVectors.from_rows([p.bm25 for p in points])),
            )
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


def _candidates(table: _Table, plan: QueryPlan) -> Candidates:
    where, points = plan.where, table.points
    allowed = np.arange(len(points))
    if where is not None:
        allowed = allowed[[matches(where, point.passage) for point in points]]
    union: dict[int, None] = {}
    for channel in plan.retrieve if len(allowed) else ():
        scores = _scores(table, plan, channel, allowed)
        order = np.argsort(-scores, kind="stable")[: plan.candidates]
        if channel in LEXICAL:
            order = order[scores[order] > 0]
        union.update(dict.fromkeys(allowed[order].tolist()))
    rows = np.array(list(union), np.int64)
    return Candidates(
        [points[row].passage.id for row in union],
        {channel: _scores(table, plan, channel, rows) for channel in plan.score},
    )


def _scores(table: _Table, plan: QueryPlan, channel: str, rows: NDArray[np.int64]) -> Floats:
    """Return a channel's scores of some rows of the table."""
    if len(rows) == 0:
        return np.zeros(0, np.float32)
    if channel == "dense" and plan.dense is not None:
        scores = dense_scores(plan.dense[None], table.dense[rows])
    elif channel == "sparse" and plan.sparse is not None:
        tokens, weights = SparseVectors.from_dicts([plan.sparse]).rows(0)
        scores = table.sparse.scores(tokens, weights)[rows]
    elif channel == "bm25" and plan.bm25 is not None:
        tokens, counts = SparseVectors.from_dicts([plan.bm25]).rows(0)
        rarity = idf(len(table.points), table.bm25.counts(tokens))
        scores = table.bm25.scores(tokens, (counts * rarity).astype(np.float32))[rows]
    elif channel == "colbert" and plan.colbert is not None:
        parts = []
        for start in range(0, len(rows), _STACKED):
            found = [table.points[row].colbert for row in rows[start : start + _STACKED]]
            stacked = MultiVectors.from_rows([v for v in found if v is not None])
            parts.append(colbert_scores(plan.colbert, stacked))
        scores = np.concatenate(parts)
    else:
        raise AssertionError(f"The plan has no query for its channel {channel}.")
    return scores.reshape(-1)
