"""Inverted lists of sparse vectors, for many queries against the same passages."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from m3rag.encoding import SparseVectors

Floats = NDArray[np.float32]


class InvertedLists:
    """The passages that contain each token, with their weights.

    A query reads only the lists of its own tokens, whereas `sparse_scores` reads all entries. The
    sums are the same: products and sums in float64, in the order of the query's tokens.
    """

    def __init__(self, passages: SparseVectors) -> None:
        order = np.argsort(passages.indices, kind="stable")
        rows = np.repeat(np.arange(len(passages)), np.diff(passages.indptr))
        self._n = len(passages)
        self._rows = rows[order]
        self._values = passages.values[order].astype(np.float64)
        self._tokens, starts = np.unique(passages.indices[order], return_index=True)
        self._bounds = np.append(starts, len(order))

    def scores(self, tokens: NDArray[np.int32], weights: Floats) -> Floats:
        """Return the sparse scores `(n,)` of one query, given by its distinct tokens."""
        scores = np.zeros(self._n)
        for token, weight in zip(tokens, weights.astype(np.float64), strict=True):
            span = self._span(token)
            scores[self._rows[span]] += weight * self._values[span]  # each passage at most once
        return scores.astype(np.float32)

    def counts(self, tokens: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the number of passages that contain each token, `(len(tokens),)`."""
        spans = [self._span(token) for token in tokens]
        return np.array([span.stop - span.start for span in spans], np.int64)

    def _span(self, token: np.int32) -> slice:
        at = int(np.searchsorted(self._tokens, token))
        if at == len(self._tokens) or self._tokens[at] != token:
            return slice(0, 0)
        return slice(int(self._bounds[at]), int(self._bounds[at + 1]))
