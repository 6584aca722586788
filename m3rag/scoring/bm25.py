"""BM25 as sparse vectors: term frequencies are stored with passages, idf is applied at query time.

    score(q, p) = sum over tokens t of  tf_q(t) * idf(t) * tf'_p(t)
    tf'_p(t)    = tf_p(t) * (k1 + 1) / (tf_p(t) + k1 * (1 - b + b * length_p / average_length))
    idf(t)      = ln(1 + (N - n_t + 0.5) / (n_t + 0.5)),  N passages, n_t of them with t

The idf is Lucene's, which is never negative. That of `rank_bm25.BM25Okapi` lacks the 1 and replaces
negative values, so both rank alike only if no token is in more than half of the passages. The
average length is a setting, not a measurement: otherwise stored weights would change with every
added passage. A wrong average does little harm: it acts like slightly different k1 and b.

Tokens are those of the M3 model, so Chinese, Japanese and Thai need no word splitter. For stemming
and stop words, pass your own analyzer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3rag.encoding import SparseVectors
from m3rag.errors import InputError
from m3rag.limits import is_number, shown

Analyzer = Callable[[Sequence[str]], list[list[int]]]
"""A function from texts to token ids: integers from 0 to 2**31 - 1, with repeats, in any order."""


_MOST = 1e9  # of k1 and the average length, and 1 / 1e9 at least: the weights fit float32


@dataclass(frozen=True, slots=True)
class BM25:
    """The settings of BM25. They are stored with an index, whose weights depend on them.

    Attributes:
        k1: The saturation of term frequencies: the lower, the less repeats of a token count; 1.2
            as in Lucene.
        b: The penalty for long passages, 0 to 1; 0.75 as in Lucene.
        average_length: The number of tokens of an average passage.
    """

    k1: float = 1.2
    b: float = 0.75
    average_length: float = 256.0

    def __post_init__(self) -> None:
        for name in ("k1", "b", "average_length"):
            value = getattr(self, name)
            if not is_number(value):
                raise InputError(f"BM25 needs numbers, got {name}={shown(value)}.")
        if not (
            0 <= self.k1 <= _MOST and 0 <= self.b <= 1 and 1 / _MOST <= self.average_length <= _MOST
        ):
            raise InputError(
                "BM25 needs k1 >= 0, 0 <= b <= 1 and average_length > 0, at most "
                f"{_MOST:g}, got k1={shown(self.k1)}, b={shown(self.b)} and "
                f"average_length={shown(self.average_length)}."
            )

    def passages(self, tokens: Sequence[Sequence[int]]) -> SparseVectors:
        """Return the stored vector of each text: saturated, length-normalized term frequencies."""
        rows = []
        for text in tokens:
            ids, counts = _counted(text)
            length = self.k1 * (1 - self.b + self.b * len(text) / self.average_length)
            rows.append((ids, (counts * (self.k1 + 1) / (counts + length)).astype(np.float32)))
        return SparseVectors.from_rows(rows)

    def queries(self, tokens: Sequence[Sequence[int]]) -> SparseVectors:
        """Return the query vector of each text: how often each token occurs, without idf."""
        counted = [_counted(text) for text in tokens]
        return SparseVectors.from_rows([(ids, n.astype(np.float32)) for ids, n in counted])


def idf(n_passages: int, n_with_token: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return Lucene's inverse document frequency."""
    return np.log1p((n_passages - n_with_token + 0.5) / (n_with_token + 0.5))


def _counted(tokens: Sequence[int]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the distinct ids, ascending, and how often each occurs."""
    try:
        numbers = np.asarray(tokens)
    except (TypeError, ValueError) as error:
        raise InputError(f"Token ids must be a list of integers: {shown(str(error))}.") from None
    if numbers.size == 0:
        numbers = numbers.astype(np.int64)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise InputError(
            f"Token ids must be integers from 0 to 2**31 - 1, got {shown(tokens)}. The analyzer "
            "must return a list of them for each text."
        )
    ids, counts = np.unique(numbers, return_counts=True)
    if len(ids) and (ids[0] < 0 or ids[-1] > np.iinfo(np.int32).max):
        raise InputError(f"Token ids must be from 0 to 2**31 - 1, got {ids[0]} to {ids[-1]}.")
    return ids.astype(np.int32), counts
