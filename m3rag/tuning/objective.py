"""nDCG@10 of any fusion of computed scores, without sorting any ranking."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from m3rag.errors import InputError
from m3rag.evaluation.evaluator import layout_of
from m3rag.evaluation.matrices import Scores, SliceScores, aggregate
from m3rag.evaluation.slices import Slice
from m3rag.evaluation.statistics import Values
from m3rag.index.presets import Preset
from m3rag.scoring import SCORED
from m3rag.scoring.fusion import Floats, ranks

DEPTH = 10
Gains = list[tuple[NDArray[np.int64], NDArray[np.int64], Values]]
"""Rows, columns and gains of relevant units; an entry has each row at most once."""


class Objective:
    """Computes the nDCG@10 of fusions.

    The value of a ranking is trec_eval's nDCG@10, as in `m3rag.evaluation.measure`. It depends only
    on the ranks of the relevant units, which are found by counting the units above them.

    Attributes:
        channels: The channels that can be fused.
        layout: The question and the cell of each ranking.
        deviation: The standard deviation of a query's scores on each channel, the mean over
            queries.

    Raises:
        InputError: Fewer than two channels were scored.
    """

    def __init__(self, scores: Scores) -> None:
        self.channels = tuple(c for c in SCORED if c in scores.channels)
        if len(self.channels) < 2:
            raise InputError(
                f"Tuning needs the scores of at least two channels of {', '.join(SCORED)}, got "
                f"{', '.join(scores.channels)}."
            )
        _, self.layout = layout_of(scores.slices)
        self._parts = [_Part(scored, _gains(scored.slice)) for scored in scores.slices]
        self.deviation = {c: self._deviation(c) for c in self.channels}
        self._memo: dict[tuple[object, ...], Values] = {}

    @cached_property
    def importance(self) -> Values:
        """The weight of each ranking, `(n,)`; cells count equally, and the sum is 1."""
        cell = self.layout.cell
        counts = np.bincount(cell)
        return np.asarray(1.0 / (counts[cell] * len(counts)), np.float64)

    def values(self, preset: Preset) -> Values:
        """Return the nDCG@10 of each ranking, `(n,)`."""
        key = (preset.fusion, preset.k, *preset.weights.values())
        if key not in self._memo:
            self._memo[key] = np.concatenate([part.values(preset) for part in self._parts])
        return self._memo[key]

    def _deviation(self, channel: str) -> float:
        rows = [part.scores.channels[channel].std(axis=1) for part in self._parts]
        return max(float(np.concatenate(rows).mean()), 1e-6)  # a channel may be all zero


@dataclass(frozen=True)
class _Part:
    """A slice.

    Attributes:
        scores: Its scores.
        gains: The gain of each relevant unit, before the discount of its rank.
    """

    scores: SliceScores
    gains: Gains

    def values(self, preset: Preset) -> Values:
        """Return the nDCG@10 of the slice's queries, `(n queries,)`."""
        fused = aggregate(self._fused(preset), self.scores.slice, self.scores.aggregate)
        ndcg = np.zeros(len(fused), np.float64)
        position = np.arange(fused.shape[1])
        for rows, columns, gains in self.gains:
            others = fused if len(rows) == len(fused) else fused[rows]
            own = fused[rows, columns][:, None]
            above = (others > own) | ((others == own) & (position > columns[:, None]))
            rank = 1 + np.count_nonzero(above, axis=1)
            ndcg[rows] += np.where(rank <= DEPTH, gains / np.log2(rank + 1), 0.0)
        return ndcg

    def _fused(self, preset: Preset) -> Floats:
        """Fuse as `weighted_sum` and `reciprocal_rank_fusion` do, for all queries at once."""
        weights = {c: w for c, w in preset.weights.items() if w > 0}
        if preset.fusion == "weighted":
            total = np.zeros(self._shape, np.float32)
            for channel, weight in weights.items():
                total += np.float32(weight) * self.scores.channels[channel]
            return total
        total64 = np.zeros(self._shape, np.float64)  # so that ties of ranks remain ties
        for channel in weights:
            total64 += 1.0 / (preset.k + self._ranks[channel])
        return total64.astype(np.float32)

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self.scores.slice.queries), len(self.scores.slice.passages)

    @cached_property
    def _ranks(self) -> dict[str, Floats]:
        """The rank of each passage on each channel, `(n queries, n passages)`; inf: not listed."""
        return {
            channel: np.array([ranks(row, channel) for row in scores], np.float32)
            for channel, scores in self.scores.channels.items()
        }


def _gains(slice: Slice) -> Gains:
    """Return the relevant units that can be ranked, with their gain over the ideal DCG."""
    column = {unit: i for i, unit in enumerate(slice.units)}
    slots: list[list[tuple[int, int, float]]] = []
    for row, relevant in enumerate(slice.relevant):
        best = sorted(relevant.values(), reverse=True)[:DEPTH]
        ideal = sum(grade / np.log2(rank + 1) for rank, grade in enumerate(best, 1))
        ranked = ((unit, grade) for unit, grade in relevant.items() if unit in column)
        for slot, (unit, grade) in enumerate(ranked):
            if slot == len(slots):
                slots.append([])
            slots[slot].append((row, column[unit], grade / ideal))
    return [_columns(slot) for slot in slots]


def _columns(
    slot: list[tuple[int, int, float]],
) -> tuple[NDArray[np.int64], NDArray[np.int64], Values]:
    rows, columns, gains = zip(*slot, strict=True)
    return np.array(rows), np.array(columns), np.array(gains)
