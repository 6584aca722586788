"""Means over cells, their confidence intervals, and whether a difference is more than chance.

A cell is one subset and one pair of languages. A cell's value is the mean over its queries, every
other value the mean over cells, so that a pair with few questions counts as much as one with many.

One question asked in nine languages is not nine questions: resampling draws whole questions, with
all their languages and cells.
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
_SEED = 20240205  # the day of the M3 paper; any number, as long as it is always the same


@dataclass(frozen=True)
class Layout:
    """Which question and which cell each observation belongs to.

    Attributes:
        question: int `(n,)`, from 0.
        cell: int `(n,)`, from 0.
    """

    question: NDArray[np.int64]
    cell: NDArray[np.int64]

    @cached_property
    def _counts(self) -> Values:
        return self.spread(np.ones(len(self.cell)))

    @cached_property
    def _draws(self) -> Values:
        """How often each resample draws each question, `(resamples, n questions)`."""
        n = len(self._counts)
        drawn = np.random.default_rng(_SEED).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
        return drawn.astype(np.float64)

    def spread(self, values: Values) -> Values:
        """Sums of observations, `(n questions, n cells)`."""
        shape = int(self.question.max()) + 1, int(self.cell.max()) + 1
        flat = np.bincount(
            self.question * shape[1] + self.cell, values, minlength=shape[0] * shape[1]
        )
        return np.asarray(flat.reshape(shape), np.float64)

    def cell_means(self, values: Values) -> Values:
        """The mean of each cell's observations, `(n cells,)`."""
        return np.asarray(np.bincount(self.cell, values) / np.bincount(self.cell), np.float64)

    def interval(
        self, values: Values, cells: Sequence[int], *, confidence: float = 0.95
    ) -> tuple[float, float]:
        """A percentile bootstrap interval of the mean over `cells`.

        Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; drawn by
        question, as in Sakai, SIGIR 2006.
        """
        drawn = self._draws @ self.spread(values)[:, cells]  # (resamples, cells)
        counts = self._draws @ self._counts[:, cells]
        nothing = np.full(counts.shape, np.nan)  # a draw may miss a small cell
        means = np.divide(drawn, counts, out=nothing, where=counts > 0)
        tail = (1 - confidence) / 2
        low, high = np.nanquantile(np.nanmean(means, axis=1), [tail, 1 - tail])
        return float(low), float(high)

    def significance(self, differences: Values, cells: Sequence[int]) -> float:
        """The p-value of a mean difference, two-sided, by a paired randomisation test.

        If two systems are alike, which of them a question's values belong to is chance: the test
        swaps them at random, by question. The mean over cells is a sum of one part a question.

        Source: Smucker, Allan and Carterette, CIKM 2007; `scipy.stats.permutation_test`.
        """
        require("scipy", "evaluate")
        from scipy.stats import permutation_test

        sums, counts = self.spread(differences), np.bincount(self.cell)
        parts = (sums / counts)[:, cells].mean(axis=1)  # (n questions,)
        if len(parts) < 2 or not parts.any():
            return 1.0
        found = permutation_test(
            (parts, np.zeros(len(parts))),
            lambda first, second, axis: (first - second).sum(axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=2 * RESAMPLES,
            batch=max(1, 2_000_000 // len(parts)),
            rng=np.random.default_rng(_SEED),
        )
        return float(found.pvalue)
