"""BM25 as a sparse vector: term frequencies when a passage is stored, idf when one asks.

    score(q, p) = sum over tokens t of  tf_q(t) * idf(t) * tf'_p(t)
    tf'_p(t)    = tf_p(t) * (k1 + 1) / (tf_p(t) + k1 * (1 - b + b * length_p / average_length))
    idf(t)      = ln(1 + (N - n_t + 0.5) / (n_t + 0.5)),  N passages, n_t of them with t

The idf is Lucene's: it is never negative, unlike that of `rank_bm25.BM25Okapi` (which lacks
the 1 and lifts negative values), so the two rank alike only where no token is in more than half
of the passages. The average length is a setting, not a measurement: a stored weight would change
with every passage that is added. A wrong average is mild (it acts like a slightly other k1 and b).

Tokens are those of the M3 model, so Chinese, Japanese and Thai need no word splitter; whoever
wants stemming and stop words passes an analyzer of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3rag.encoding import SparseVectors
from m3rag.errors import InputError

Analyzer = Callable[[Sequence[str]], list[list[int]]]
"""Texts to token ids: whole numbers from 0 to 2**31 - 1, with repeats, in any order."""


@dataclass(frozen=True, slots=True)
class BM25:
    """The settings of BM25; stored with an index, as its weights depend on them.

    Attributes:
        k1: how fast repeats of a token stop to count; 1.2 as in Lucene.
        b: how much long passages are held back, 0 to 1; 0.75 as in Lucene.
        average_length: tokens of a middling passage.
    """

    k1: float = 1.2
    b: float = 0.75
    average_length: float = 256.0

    def __post_init__(self) -> None:
        if not (self.k1 >= 0 and 0 <= self.b <= 1 and self.average_length > 0):
            raise InputError(f"BM25 needs k1 >= 0, 0 <= b <= 1 and average_length > 0, got {self}.")

    def passages(self, tokens: Sequence[Sequence[int]]) -> SparseVectors:
        """The stored side: saturated, length-normalised frequencies of each text's tokens."""
        rows = []
        for text in tokens:
            ids, counts = _counted(text)
            length = self.k1 * (1 - self.b + self.b * len(text) / self.average_length)
            rows.append((ids, (counts * (self.k1 + 1) / (counts + length)).astype(np.float32)))
        return SparseVectors.from_rows(rows)

    def queries(self, tokens: Sequence[Sequence[int]]) -> SparseVectors:
        """The asking side: how often each token occurs, still without idf."""
        counted = [_counted(text) for text in tokens]
        return SparseVectors.from_rows([(ids, n.astype(np.float32)) for ids, n in counted])


def idf(n_passages: int, n_with_token: NDArray[np.int64]) -> NDArray[np.float64]:
    """Lucene's inverse document frequency."""
    return np.log1p((n_passages - n_with_token + 0.5) / (n_with_token + 0.5))


def _counted(tokens: Sequence[int]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Distinct ids, ascending, and how often each occurs."""
    ids, counts = np.unique(np.asarray(tokens, np.int64), return_counts=True)
    if len(ids) and (ids[0] < 0 or ids[-1] > np.iinfo(np.int32).max):
        raise InputError(f"Token ids go from 0 to 2**31 - 1, got {ids[0]} to {ids[-1]}.")
    return ids.astype(np.int32), counts
