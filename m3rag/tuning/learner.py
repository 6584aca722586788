"""Learning a fusion from some of the questions.

The *share* of a channel is its weight times the standard deviation of its scores, divided by the
sum over all channels. It measures how much the channel influences the ranking. Shares make channels
of different scales comparable (bm25 reaches 20 and more, the others stay below 1) and sum to 1. The
learner searches and shrinks shares, not weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, pairwise, permutations

import numpy as np
from numpy.typing import NDArray

from m3rag.index.presets import Preset
from m3rag.scoring import PRESETS
from m3rag.tuning.objective import Objective

_UNITS = 64  # units in a share of 1: the finest step is 1/64
_COARSE = 8  # units between the points of the coarse grid
_RRF_KS = (5.0, 10.0, 20.0, 40.0, 60.0, 100.0)
_VIEWS = ("dense", "sparse", "colbert")

_PRIOR = 20
"""The starting preset counts as much as this many questions; `docs/tuning.md` has the effect."""

Shares = tuple[int, ...]


class Learner:
    """Finds the fusion with the highest nDCG@10 on given rankings.

    Attributes:
        objective: Computes the nDCG@10 of fusions.
        starts: The presets whose channels were scored, by name.
    """

    def __init__(
        self,
        objective: Objective,
        presets: Mapping[str, Mapping[str, float]] = PRESETS,
        *,
        prior: float = _PRIOR,
    ) -> None:
        self.objective = objective
        self._prior = prior
        channels = set(objective.channels)
        self.starts = {
            name: Preset(weights)
            for name, weights in presets.items()
            if channels.issuperset(c for c, w in weights.items() if w > 0)
        }
        if not self.starts:  # fewer channels than any preset has
            self.starts = {"equal": self._preset(np.full(len(channels), 1 / len(channels)))}

    def value(self, preset: Preset, rows: NDArray[np.bool_]) -> float:
        """Return the mean nDCG@10 over the rankings in `rows`, `(n,)`; cells count equally."""
        importance = self.objective.importance[rows]
        return float(self.objective.values(preset)[rows] @ importance / importance.sum())

    def start(self, rows: NDArray[np.bool_]) -> str:
        """Return the name of the preset that is best on the rankings in `rows`, `(n,)`."""
        return max(self.starts, key=lambda name: self.value(self.starts[name], rows))

    def learn(self, rows: NDArray[np.bool_]) -> Preset:
        """Return the best fusion on the rankings in `rows`, `(n,)`.

        This is a weighted sum, shrunk towards the best preset if there are few questions, or
        reciprocal rank fusion of the model's views if that is better.
        """
        start = self.starts[self.start(rows)]
        questions = len(np.unique(self.objective.layout.question[rows]))
        trust = questions / (questions + self._prior)
        best = np.array(self._best(rows)) / _UNITS
        weighted = self._preset(trust * best + (1 - trust) * self._shares(start))
        candidates = [start, weighted, *self._rank_fusions()]
        return max(candidates, key=lambda preset: self.value(preset, rows))

    def _best(self, rows: NDArray[np.bool_]) -> Shares:
        """Try every point of a coarse grid, then ever smaller steps from the best one."""

        def value(shares: Shares) -> float:
            return self.value(self._preset(np.array(shares) / _UNITS), rows)

        best = max(_grid(len(self.objective.channels)), key=value)
        step = _COARSE // 2
        while step:
            better = max(_neighbours(best, step), key=value, default=best)
            if value(better) > value(best):
                best = better
            else:
                step //= 2
        return best

    def _rank_fusions(self) -> list[Preset]:
        """Return reciprocal rank fusion of the views with each k."""
        weights = {c: 1.0 for c in self.objective.channels if c in _VIEWS}
        return [Preset(weights, "rrf", k) for k in _RRF_KS] if len(weights) > 1 else []

    def _shares(self, preset: Preset) -> NDArray[np.float64]:
        deviation = self.objective.deviation
        parts = [preset.weights[c] * deviation[c] for c in self.objective.channels]
        return np.array(parts) / sum(parts)

    def _preset(self, shares: NDArray[np.float64]) -> Preset:
        """Return weights of three digits, scaled so that the largest weight of a view is 1."""
        deviation = self.objective.deviation
        weights = dict(zip(self.objective.channels, shares, strict=True))
        weights = {c: float(share) / deviation[c] for c, share in weights.items()}
        return Preset(_readable(weights))


def _readable(weights: Mapping[str, float]) -> dict[str, float]:
    largest = max((w for c, w in weights.items() if c in _VIEWS), default=0.0) or 1.0
    return {c: float(f"{w / largest:.3g}") for c, w in weights.items() if w > 0}


def _grid(channels: int) -> Iterator[Shares]:
    """Yield all shares in coarse steps that sum to 1, in a fixed order."""
    steps = _UNITS // _COARSE
    for bars in combinations(range(steps + channels - 1), channels - 1):
        edges = (-1, *bars, steps + channels - 1)
        yield tuple((b - a - 1) * _COARSE for a, b in pairwise(edges))


def _neighbours(shares: Shares, step: int) -> Iterator[Shares]:
    """Yield the shares with `step` units moved from one channel to another."""
    for giver, taker in permutations(range(len(shares)), 2):
        if shares[giver] >= step:
            moved = list(shares)
            moved[giver] -= step
            moved[taker] += step
            yield tuple(moved)
