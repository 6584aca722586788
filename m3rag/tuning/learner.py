"""Learning a fusion on some of the questions.

A channel's *share* is its weight times the deviation of its scores, over the sum of all channels':
how much it has to say. Shares make channels of different scales alike (bm25 reaches 20 and more
where the others stay below 1), sum to 1, and are what is searched and shrunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, pairwise, permutations

import numpy as np
from numpy.typing import NDArray

from m3rag.index.presets import Preset
from m3rag.scoring import PRESETS
from m3rag.tuning.objective import Objective

_UNITS = 64  # of shares: the finest step is 1/64
_COARSE = 8  # units between the points that are all tried
_RRF_KS = (5.0, 10.0, 20.0, 40.0, 60.0, 100.0)
_VIEWS = ("dense", "sparse", "colbert")

_PRIOR = 20
"""The start counts as much as this many questions; see `docs/tuning.md` for what it is worth."""

Shares = tuple[int, ...]


class Learner:
    """Finds the fusion that is worth most on given rankings.

    Attributes:
        objective: what fusions are worth.
        starts: the presets whose channels are there, by name.
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
        here = set(objective.channels)
        self.starts = {
            name: Preset(weights)
            for name, weights in presets.items()
            if here.issuperset(c for c, w in weights.items() if w > 0)
        }
        if not self.starts:  # fewer channels than any preset has
            self.starts = {"equal": self._preset(np.full(len(here), 1 / len(here)))}

    def value(self, preset: Preset, rows: NDArray[np.bool_]) -> float:
        """The mean nDCG@10 over these rankings, `(n,)`; cells count alike."""
        importance = self.objective.importance[rows]
        return float(self.objective.values(preset)[rows] @ importance / importance.sum())

    def start(self, rows: NDArray[np.bool_]) -> str:
        """The name of the preset that is best on these rankings."""
        return max(self.starts, key=lambda name: self.value(self.starts[name], rows))

    def learn(self, rows: NDArray[np.bool_]) -> Preset:
        """The best fusion on these rankings, drawn towards the best preset if they are few.

        A weighted sum, or reciprocal rank fusion of the model's views where that is worth more.
        """
        start = self.starts[self.start(rows)]
        questions = len(np.unique(self.objective.layout.question[rows]))
        trust = questions / (questions + self._prior)
        best = np.array(self._best(rows)) / _UNITS
        weighted = self._preset(trust * best + (1 - trust) * self._shares(start))
        return max([start, weighted, *self._by_rank()], key=lambda one: self.value(one, rows))

    def _best(self, rows: NDArray[np.bool_]) -> Shares:
        """Every point of a coarse grid, then ever smaller steps from the best one."""

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

    def _by_rank(self) -> list[Preset]:
        """Reciprocal rank fusion of the views, for each k."""
        weights = {c: 1.0 for c in self.objective.channels if c in _VIEWS}
        return [Preset(weights, "rrf", k) for k in _RRF_KS] if len(weights) > 1 else []

    def _shares(self, preset: Preset) -> NDArray[np.float64]:
        deviation = self.objective.deviation
        parts = [preset.weights[c] * deviation[c] for c in self.objective.channels]
        return np.array(parts) / sum(parts)

    def _preset(self, shares: NDArray[np.float64]) -> Preset:
        """Weights of three digits, the largest of the model's views 1."""
        deviation = self.objective.deviation
        weights = dict(zip(self.objective.channels, shares, strict=True))
        weights = {c: float(share) / deviation[c] for c, share in weights.items()}
        return Preset(_readable(weights))


def _readable(weights: Mapping[str, float]) -> dict[str, float]:
    largest = max((w for c, w in weights.items() if c in _VIEWS), default=0.0) or 1.0
    return {c: float(f"{w / largest:.3g}") for c, w in weights.items() if w > 0}


def _grid(channels: int) -> Iterator[Shares]:
    """All shares in coarse steps that sum to 1, in a fixed order."""
    steps = _UNITS // _COARSE
    for bars in combinations(range(steps + channels - 1), channels - 1):
        edges = (-1, *bars, steps + channels - 1)
        yield tuple((b - a - 1) * _COARSE for a, b in pairwise(edges))


def _neighbours(shares: Shares, step: int) -> Iterator[Shares]:
    """Shares with `step` units moved from one channel to another."""
    for giver, taker in permutations(range(len(shares)), 2):
        if shares[giver] >= step:
            moved = list(shares)
            moved[giver] -= step
            moved[taker] += step
            yield tuple(moved)
