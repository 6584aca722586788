"""The views of texts as NumPy arrays.

A view is one of the three outputs of a forward pass for a text: its dense vector, its sparse term
weights, or its ColBERT vectors.

Shapes: n texts, d the model's width, t the tokens of one text, including `<s>` and `</s>`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from m3rag.errors import InputError

T = TypeVar("T")
Rows = slice | Sequence[int] | NDArray[np.int64]
"""Chosen texts: a slice, or a list of their numbers."""

CHANNELS = ("dense", "sparse", "colbert")


@dataclass(frozen=True, slots=True, eq=False)
class SparseVectors:
    """The learned term weights of n texts, as CSR arrays.

    It supports `len` and iteration. `sparse[i]` is a text's weights; `sparse[1:]` and
    `sparse[[4, 1]]` are those of the chosen texts.

    Attributes:
        indptr: int64 `(n + 1,)`. Text i has the entries `indptr[i]:indptr[i + 1]`.
        indices: int32 `(nnz,)`. Token ids, ascending and unique within a text.
        values: float32 `(nnz,)`. Weights, all above zero.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @overload
    def __getitem__(self, key: int) -> dict[int, float]: ...

    @overload
    def __getitem__(self, key: Rows) -> SparseVectors: ...

    def __getitem__(self, key: int | Rows) -> dict[int, float] | SparseVectors:
        """Return a text's weights as a `{token id: weight}` dict, or those of chosen texts."""
        if not isinstance(key, int | np.integer):
            return self.take(np.arange(len(self))[key])
        start, end = self._span(int(key))
        return dict(
            zip(self.indices[start:end].tolist(), self.values[start:end].tolist(), strict=True)
        )

    def __iter__(self) -> Iterator[dict[int, float]]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"SparseVectors({len(self)} texts, {len(self.values)} weights)"

    def rows(self, i: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the `(indices, values)` of text i as arrays, without a copy."""
        start, end = self._span(i)
        return self.indices[start:end], self.values[start:end]

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> SparseVectors:
        """Return a copy with the given texts, in the given order."""
        return SparseVectors.from_rows([self.rows(int(i)) for i in rows])

    @classmethod
    def from_rows(
        cls, rows: Sequence[tuple[NDArray[np.int32], NDArray[np.float32]]]
    ) -> SparseVectors:
        """Stack one pair of arrays, `(ascending indices, values)`, per text."""
        indptr = _offsets([len(indices) for indices, _ in rows])
        indices = [np.asarray(i, np.int32) for i, _ in rows] or [np.empty(0, np.int32)]
        values = [np.asarray(v, np.float32) for _, v in rows] or [np.empty(0, np.float32)]
        return cls(indptr, np.concatenate(indices), np.concatenate(values))

    @classmethod
    def from_dicts(cls, weights: Sequence[Mapping[int, float]]) -> SparseVectors:
        """Stack one `{token id: weight}` mapping per text."""
        rows = []
        for text in weights:
            ids = np.array(sorted(text), np.int32)
            rows.append((ids, np.array([text[int(i)] for i in ids], np.float32)))
        return cls.from_rows(rows)

    def _span(self, i: int) -> tuple[int, int]:
        i = _position(i, len(self))
        return int(self.indptr[i]), int(self.indptr[i + 1])


@dataclass(frozen=True, slots=True, eq=False)
class MultiVectors:
    """The ColBERT vectors of n texts: a ragged array, one row per token.

    `<s>` has no row, `</s>` has one. It supports `len` and iteration. `colbert[i]` is a text's
    matrix; `colbert[1:]` and `colbert[[4, 1]]` are those of the chosen texts.

    Attributes:
        offsets: int64 `(n + 1,)`. Text i has the rows `offsets[i]:offsets[i + 1]`.
        vectors: `(rows, d)`. Unit vectors, in contiguous memory that the array owns: float32 from a
            float32 model, float16 from a 16-bit model.
    """

    offsets: NDArray[np.int64]
    vectors: NDArray[np.floating]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, key: int) -> NDArray[np.floating]: ...

    @overload
    def __getitem__(self, key: Rows) -> MultiVectors: ...

    def __getitem__(self, key: int | Rows) -> NDArray[np.floating] | MultiVectors:
        """Return a text's vectors, `(t - 1, d)`, without a copy, or those of chosen texts."""
        if not isinstance(key, int | np.integer):
            return self.take(np.arange(len(self))[key])
        i = _position(int(key), len(self))
        return self.vectors[self.offsets[i] : self.offsets[i + 1]]

    def __iter__(self) -> Iterator[NDArray[np.floating]]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        rows, dim = self.vectors.shape
        return f"MultiVectors({len(self)} texts, {rows} vectors of {dim} {self.vectors.dtype})"

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> MultiVectors:
        """Return a copy with the given texts, in the given order."""
        if len(rows) == 0:
            return MultiVectors.empty(self.vectors.shape[1])
        return MultiVectors.from_rows([self[int(i)] for i in rows])

    @classmethod
    def empty(cls, dim: int) -> MultiVectors:
        """Return the vectors of no texts."""
        return cls(np.zeros(1, np.int64), np.empty((0, dim), np.float32))

    @classmethod
    def from_rows(cls, rows: Sequence[NDArray[np.floating]]) -> MultiVectors:
        """Stack one `(t - 1, d)` matrix per text.

        Raises:
            InputError: There is no matrix.
        """
        if not rows:
            raise InputError("MultiVectors.from_rows needs at least one matrix, got none.")
        return cls(_offsets([len(r) for r in rows]), np.concatenate(rows))


class GrowingMultiVectors:
    """ColBERT vectors that are appended text by text to one growing array.

    The array grows in place. Concatenating one matrix per text would hold all vectors in memory
    twice.
    """

    __slots__ = ("_lengths", "_rows", "_vectors")

    def __init__(self) -> None:
        self._lengths: list[int] = []
        self._rows = 0
        self._vectors: NDArray[np.floating] | None = None

    def append(self, vectors: NDArray[np.floating]) -> None:
        """Append a copy of the next text's `(t - 1, d)` matrix."""
        start, self._rows = self._rows, self._rows + len(vectors)
        self._lengths.append(len(vectors))
        if self._vectors is None:
            self._vectors = vectors.copy()
            return
        if self._rows > len(self._vectors):
            # NumPy zeroes the new memory, so add only what is needed soon.
            self._resize(self._vectors, self._rows + self._rows // 32)
        self._vectors[start : self._rows] = vectors

    def complete(self) -> MultiVectors:
        """Return the vectors of all texts; nothing can be appended afterwards.

        Raises:
            InputError: Nothing was appended.
        """
        if self._vectors is None:
            raise InputError("No ColBERT vectors were appended. Append at least one text.")
        self._resize(self._vectors, self._rows)
        return MultiVectors(_offsets(self._lengths), self._vectors)

    @staticmethod
    def _resize(vectors: NDArray[np.floating], rows: int) -> None:
        vectors.resize((rows, vectors.shape[1]), refcheck=False)  # no other reference exists yet


class Encoding:
    """Up to three views of n texts.

    It supports `len`, iteration, `enc[i]`, `enc[2:5]` and `enc[[4, 1]]`. `channels` names the views
    that were requested; reading any other raises `InputError`.

    Attributes:
        n_tokens: int32 `(n,)`. The number of encoded tokens, including `<s>` and `</s>`.
        truncated: bool `(n,)`. Whether the text was longer than the limit.
    """

    __slots__ = ("_colbert", "_dense", "_sparse", "n_tokens", "truncated")

    def __init__(
        self,
        *,
        n_tokens: NDArray[np.int32],
        truncated: NDArray[np.bool_],
        dense: NDArray[np.float32] | None = None,
        sparse: SparseVectors | None = None,
        colbert: MultiVectors | None = None,
    ) -> None:
        self.n_tokens = n_tokens
        self.truncated = truncated
        self._dense = dense
        self._sparse = sparse
        self._colbert = colbert

    @property
    def channels(self) -> tuple[str, ...]:
        """The views that were requested: "dense", "sparse", "colbert" or some of them."""
        return tuple(c for c in CHANNELS if getattr(self, f"_{c}") is not None)

    @property
    def dense(self) -> NDArray[np.float32]:
        """The dense vectors, float32 `(n, d)`, of unit length."""
        return _requested(self._dense, "dense")

    @property
    def sparse(self) -> SparseVectors:
        """The term weights, as CSR arrays."""
        return _requested(self._sparse, "sparse")

    @property
    def colbert(self) -> MultiVectors:
        """The ColBERT vectors, one unit vector per token."""
        return _requested(self._colbert, "colbert")

    def __len__(self) -> int:
        return len(self.n_tokens)

    def __iter__(self) -> Iterator[Encoding]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: int | Rows) -> Encoding:
        """Return the `Encoding` of the chosen texts; an int chooses one text."""
        if isinstance(key, int | np.integer):
            rows = np.array([_position(int(key), len(self))])
        else:
            rows = np.arange(len(self))[key]
        return Encoding(
            n_tokens=self.n_tokens[rows],
            truncated=self.truncated[rows],
            dense=None if self._dense is None else self._dense[rows],
            sparse=None if self._sparse is None else self._sparse.take(rows),
            colbert=None if self._colbert is None else self._colbert.take(rows),
        )

    def __repr__(self) -> str:
        views = ", ".join(self.channels)
        return f"Encoding({len(self)} texts, {int(self.n_tokens.sum())} tokens; {views})"


def _requested(view: T | None, name: str) -> T:
    if view is None:
        raise InputError(
            f"This encoding has no {name} view because it was made with {name}=False. "
            f"Call model.encode(texts, {name}=True)."
        )
    return view


def _position(i: int, n: int) -> int:
    if not -n <= i < n:
        raise IndexError(f"Text {i} is out of range for an encoding of {n} texts.")
    return i % n


def _offsets(lengths: Sequence[int]) -> NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
