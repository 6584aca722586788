"""Means over cells, their confidence intervals, and the significance of differences.

A cell is one subset and one pair of languages. The value of a cell is the mean over its queries,
and every other value is the mean over cells. A pair with few questions therefore counts as much as
one with many.

One question in nine languages is not nine questions. Resampling therefore draws whole questions,
with all their languages and cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from m3rag.extras import require

Values = NDArray[np.float64]
RESAMPLES = 1000
_SEED = 20240205  # the date of the M3 paper; any fixed number would do


@dataclass(frozen=True)
class Layout:
    """The question and the cell that each observation belongs to.

    Attributes:
        question: The number of the question, int `(n,)`, from 0.
        cell: The number of the cell, int `(n,)`, from 0.
    """

    question: NDArray[np.int64]
    cell: NDArray[np.int64]

    @cached_property
    def _counts(self) -> Values:
        """The number of observations, `(n questions, n cells)`."""
        return self.spread(np.ones(len(self.cell)))

    @cached_property
    def _draws(self) -> Values:
        """How often each resample draws each question, `(resamples, n questions)`."""
        n = len(self._counts)
        drawn = np.random.default_rng(_SEED).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
        return drawn.astype(np.float64)

    def spread(self, values: Values) -> Values:
        """Return the sums of observations, `(n questions, n cells)`."""
        shape = int(self.question.max()) + 1, int(self.cell.max()) + 1
        flat = np.bincount(
            self.question * shape[1] + self.cell, values, minlength=shape[0] * shape[1]
        )
        return np.asarray(flat.reshape(shape), np.float64)

    def cell_means(self, values: Values) -> Values:
        """Return the mean of each cell's observations, `(n cells,)`."""
        return np.asarray(np.bincount(self.cell, values) / np.bincount(self.cell), np.float64)

    def interval(
        self, values: Values, cells: Sequence[int], *, confidence: float = 0.95
    ) -> tuple[float, float]:
        """Return a percentile bootstrap interval of the mean over `cells`.

        Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13;
        drawn by question, as in Sakai, SIGIR 2006.

        Args:
            values: The observations, `(n,)`.
            cells: The cells to average over.
            confidence: The confidence level.
        """
        drawn = self._draws @ self.spread(values)[:, cells]  # (resamples, cells)
        counts = self._draws @ self._counts[:, cells]
        missing = np.full(counts.shape, np.nan)  # a draw may miss a small cell
        means = np.divide(drawn, counts, out=missing, where=counts > 0)
        tail = (1 - confidence) / 2
        low, high = np.nanquantile(np.nanmean(means, axis=1), [tail, 1 - tail])
        return float(low), float(high)

    def significance(self, differences: Values, cells: Sequence[int]) -> float:
        """Return the two-sided p-value of a mean difference, by a paired randomisation test.

        If two systems are equally good, the values of a question could belong to either of them.
        The test swaps them at random, by question. The mean over cells is a sum with one term for
        each question.

        Source: Smucker, Allan and Carterette, CIKM 2007; `scipy.stats.permutation_test`.

        Args:
            differences: The differences of the observations, `(n,)`.
            cells: The cells to average over.

        Raises:
            MissingExtraError: scipy is not installed.
        """
        require("scipy", "evaluate")
        from scipy.stats import permutation_test

        sums, counts = self.spread(differences), np.bincount(self.cell)
        terms = (sums / counts)[:, cells].mean(axis=1)  # (n questions,)
        if len(terms) < 2 or not terms.any():
            return 1.0
        result = permutation_test(
            (terms, np.zeros(len(terms))),
            lambda first, second, axis: (first - second).sum(axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=2 * RESAMPLES,
            batch=max(1, 2_000_000 // len(terms)),
            rng=np.random.default_rng(_SEED),
        )
        return float(result.pvalue)
