"""The protocol of a store, and the values that an index exchanges with it.

A store keeps points and scores them. It needs no model, query text or fusion: the index turns a
query into a `QueryPlan`, the store returns `Candidates`, and the index fuses their scores. All
stores therefore return the same hits. A new store is a class with the methods of `Store` and one
with those of `Location`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from m3rag.documents import Passage
from m3rag.encoder import Model
from m3rag.encoding import MultiVectors, SparseVectors
from m3rag.stores.filters import Filter

Floats = NDArray[np.float32]

MANIFEST = "m3rag.json"
"""The name of the record that marks a place as an index."""


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """n passages with their vectors, the input of a store.

    Attributes:
        passages: The passages, with distinct ids.
        dense: The dense vectors, `(n, d)`, of unit length.
        sparse: The model's term weights.
        bm25: The saturated term frequencies, without idf.
        colbert: One unit vector per token; None in an index that does not store them.
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
    """A query to a store: which channels retrieve and score, and the query's vectors.

    The vectors are None if no channel of the plan needs them.

    Attributes:
        retrieve: The channels that retrieve candidates. Each retrieves its best `candidates`
            passages; sparse and bm25 retrieve only passages that share a token with the query.
        score: The channels that score every candidate, whichever channel retrieved it.
        candidates: The most passages that each channel retrieves.
        where: A filter; only passages that match are retrieved.
        dense: The dense vector of the query, `(d,)`, of unit length.
        sparse: The term weights of the query, by token id.
        colbert: The ColBERT vectors of the query, `(t, d)`.
        bm25: The token frequencies of the query; the store multiplies them by the idf of its
            passages.
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
    """A store's result for a plan: the passages that any channel retrieved, in any order.

    Attributes:
        ids: The distinct ids of the n passages.
        scores: The scores in each channel of the plan's `score`, `(n,)`, with none missing. A
            sparse or bm25 score of 0 means that no token is shared; a colbert score is the mean
            over the query's vectors.
    """

    ids: Sequence[str]
    scores: Mapping[str, Floats]


class Store(Protocol):
    """A collection of points that scores them. Any thread may call any method."""

    def add(self, points: Points, *, durable: bool = False) -> None:
        """Store points; a point replaces an older one with the same id.

        When this returns, the next search finds the points, and a store on disk does not lose them
        if the process is killed.

        Args:
            points: The points.
            durable: Whether a store on disk must not lose them in a power cut either: they, and
                everything added before, are flushed to the disk before this returns.
        """
        ...

    def update(self, passages: Sequence[Passage], *, ids: Sequence[str] | None = None) -> int:
        """Replace the passages that exist, by id, and keep their vectors; return their number.

        When this returns, the same holds as for `add`.

        Args:
            passages: The new passages, with distinct ids.
            ids: The id under which each is stored now, if its id changes; distinct, too. A passage
                that is stored under a new id is replaced.
        """
        ...

    def delete(self, ids: Sequence[str]) -> int:
        """Delete the passages that exist, and return their number."""
        ...

    def delete_where(self, where: Filter) -> int:
        """Delete the passages that match, and return their number."""
        ...

    def get(self, ids: Sequence[str]) -> list[Passage | None]:
        """Return the passages in the order of `ids`; None for an id that does not exist."""
        ...

    def term_weights(self, ids: Sequence[str]) -> list[dict[int, float]]:
        """Return the sparse vectors in the order of `ids`; empty for an id that does not exist."""
        ...

    def dense_vectors(self, ids: Sequence[str]) -> list[Floats | None]:
        """Return the dense vectors `(d,)` in the order of `ids`; None for an unknown id."""
        ...

    def count(self, where: Filter | None = None) -> int:
        """Return the number of passages, or of those that match."""
        ...

    def scan(
        self, where: Filter | None, after: str | None, limit: int
    ) -> tuple[list[Passage], str | None]:
        """Return a page of the passages that match; all pages together have each passage once.

        Args:
            where: A filter; None returns all passages.
            after: None for the first page, then the second value that the previous page returned.
            limit: The most passages on a page.

        Returns:
            The passages, in an order that the store chooses, and `after` for the next page; None
            if there is no next page.
        """
        ...

    def search(self, plans: Sequence[QueryPlan]) -> list[Candidates]:
        """Return the candidates of each plan; without plans, only get ready for those to come."""
        ...

    def optimize(self) -> None:
        """Rearrange the data for fast searches, if the store has anything to rearrange."""
        ...

    def close(self) -> None:
        """Release files and processes; a second call does nothing."""
        ...


def pages(store: Store, where: Filter | None, size: int) -> Iterator[list[Passage]]:
    """Yield all passages that match, `size` at a time; each page is fetched when it is needed."""
    after: str | None = None
    while True:
        page, after = store.scan(where, after, size)
        yield page
        if after is None:
            return


def by_id(passages: Sequence[Passage], ids: Sequence[str] | None) -> dict[str, Passage]:
    """Return the arguments of `Store.update` as the new passages by the ids they replace."""
    return dict(zip([p.id for p in passages] if ids is None else ids, passages, strict=True))


@dataclass(frozen=True, slots=True)
class Widths:
    """The widths of the vectors that a store keeps.

    Attributes:
        dense: The width of the dense vectors.
        colbert: The width of the ColBERT vectors; None if they are not stored.
        vocabulary: The number of token ids, which bounds the indices of the sparse vectors.
    """

    dense: int
    colbert: int | None
    vocabulary: int


class Location(Protocol):
    """The place of an index: its records, which are small files, and its store.

    `m3rag.stores.location.locate` returns the location that a path or URL names.
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
        """Return whether the place holds an index.

        Raises:
            FormatError: The place can never hold an index.
        """
        ...

    def check_new(self, *, create: bool) -> None:
        """Check that an index can be created in the place.

        Raises:
            FormatError: `create` is False, or the place holds something else.
        """
        ...

    def label(self, name: str) -> str:
        """Return the name of a record for use in messages."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return a record; None if it does not exist.

        Raises:
            OSError: The record cannot be read.
        """
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a record atomically, and create the place if needed."""
        ...

    def open_store(self, widths: Widths) -> Store:
        """Open the store, or create it.

        Args:
            widths: The widths of the vectors.

        Raises:
            InUseError: The store is already open, in this process or in another.
            StorageError: The engine cannot open the store.
        """
        ...


@runtime_checkable
class ServesModel(Protocol):
    """A location whose server encodes texts with the model of the index."""

    def model(self) -> Model:
        """Return the model.

        Raises:
            StorageError: The server cannot be reached.
        """
        ...
