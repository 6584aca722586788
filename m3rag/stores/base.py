"""The protocol of a store, and the values that an index exchanges with it.

A store keeps points and scores them. It knows no model, no query text and no fusion: the index
turns a query into a `QueryPlan`, the store returns `Candidates`, and the index fuses their scores.
All stores therefore return the same hits, and a new one is a class with the methods of `Store`
and one with those of `Location`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from m3rag.documents import Passage
from m3rag.encoding import MultiVectors, SparseVectors
from m3rag.stores.filters import Filter

Floats = NDArray[np.float32]

MANIFEST = "m3rag.json"
"""The record that makes a place an index."""


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """n passages with their vectors, as a store takes them.

    Attributes:
        passages: their ids are distinct.
        dense: `(n, d)`, unit length.
        sparse: the model's term weights.
        bm25: saturated term frequencies, without idf.
        colbert: one unit vector a token; None in an index that does not store them.
    """

    passages: Sequence[Passage]
    dense: Floats
    sparse: SparseVectors
    bm25: SparseVectors
    colbert: MultiVectors | None = None

    def __len__(self) -> int:
        return len(self.passages)

    def __getitem__(self, rows: slice) -> Points:
        chosen = range(len(self))[rows]
        return Points(
            self.passages[rows],
            self.dense[rows],
            self.sparse.take(chosen),
            self.bm25.take(chosen),
            None if self.colbert is None else self.colbert.take(chosen),
        )


@dataclass(frozen=True, slots=True, eq=False)
class QueryPlan:
    """One question to a store.

    Attributes:
        retrieve: the channels that propose candidates, each its best `candidates` passages; a
            sparse or bm25 channel proposes only passages that share a token with the query.
        score: the channels that score every candidate, whichever channel proposed it.
        candidates: how many each proposing channel may propose.
        where: only passages that match are proposed.
        dense: `(d,)`, unit length, if a channel needs it; so with the other three.
        sparse: token weights.
        colbert: `(t, d)`.
        bm25: token frequencies of the query; the store multiplies by the idf of its passages.
    """

    retrieve: tuple[str, ...]
    score: tuple[str, ...]
    candidates: int
    where: Filter | None = None
    dense: Floats | None = None
    sparse: Mapping[int, float] | None = None
    colbert: Floats | None = None
    bm25: Mapping[int, float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """A store's answer: the union of what was proposed, in any order.

    Attributes:
        ids: the passages' ids, n of them, distinct.
        scores: for each channel of the plan's `score`, `(n,)`; none is missing. A sparse or bm25
            score of 0 says that no token is shared; colbert is the mean over the query's vectors.
    """

    ids: Sequence[str]
    scores: Mapping[str, Floats]


class Store(Protocol):
    """Keeps points, scores them. Every method may be called from any thread."""

    def add(self, points: Points) -> None:
        """Keep these points; one with the id of an older one replaces it.

        On return they are found by the next search, and a killed process does not lose them.
        """
        ...

    def delete(self, ids: Sequence[str]) -> int:
        """Forget these passages, as far as they exist; how many did."""
        ...

    def delete_where(self, where: Filter) -> int:
        """Forget the passages that match; how many there were."""
        ...

    def get(self, ids: Sequence[str]) -> list[Passage | None]:
        """The passages, in that order; None for an id that does not exist."""
        ...

    def term_weights(self, ids: Sequence[str]) -> list[dict[int, float]]:
        """The sparse vectors, in that order; empty for an id that does not exist."""
        ...

    def dense_vectors(self, ids: Sequence[str]) -> list[Floats | None]:
        """The dense vectors `(d,)`, in that order; None for an id that does not exist."""
        ...

    def count(self, where: Filter | None = None) -> int:
        """How many passages there are, or match."""
        ...

    def scan(
        self, where: Filter | None, after: str | None, limit: int
    ) -> tuple[list[Passage], str | None]:
        """A page of all passages that match, each once, in an order of the store's own.

        `after` is None for the first page, then what the page before returned; None is the end.
        """
        ...

    def search(self, plans: Sequence[QueryPlan]) -> list[Candidates]:
        """An answer to each plan."""
        ...

    def optimize(self) -> None:
        """Rearrange for quick searches, if the store has something to rearrange."""
        ...

    def close(self) -> None:
        """Let go of files and processes; a second time does nothing."""
        ...


class Location(Protocol):
    """A place that an index is kept in: its records, which are small files, and its store.

    `m3rag.stores.location.locate` finds the location of a path or URL.
    """

    @property
    def engine(self) -> str:
        """The storage engine's name, as the manifest records it."""
        ...

    @property
    def path(self) -> Path | None:
        """The folder; None if the index is not in one."""
        ...

    def exists(self) -> bool:
        """Return whether an index is there.

        Raises:
            FormatError: The place can never hold an index.
        """
        ...

    def check_new(self, *, create: bool) -> None:
        """Check that an index can be created there.

        Raises:
            FormatError: `create` is False, or the place holds something else.
        """
        ...

    def label(self, name: str) -> str:
        """Return what messages call a record."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return a record; None if there is none of this name.

        Raises:
            OSError: It cannot be read.
        """
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a record atomically; creates the place if needed."""
        ...

    def open_store(self, *, dim: int, colbert_dim: int | None) -> Store:
        """Open the store, or create it.

        Args:
            dim: The width of the dense vectors.
            colbert_dim: The width of the ColBERT vectors; None if they are not stored.

        Raises:
            InUseError: Another process has it open.
            StorageError: The engine cannot open it.
        """
        ...
