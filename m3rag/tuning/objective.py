"""nDCG@10 of any fusion, on scores that are already computed: no ranking is ever sorted."""

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
"""Rows, columns and gains of relevant units; each row at most once an entry."""


class Objective:
    """What fusions are worth.

    A ranking's value is trec_eval's nDCG@10, as in `m3rag.evaluation.measure`; only the places of
    the relevant units are needed for it, and those are counted.

    Attributes:
        channels: those that can be fused.
        layout: which question and which cell each ranking belongs to.
        deviation: how far scores of a channel differ for one query: their standard deviation.
    """

    def __init__(self, scores: Scores) -> None:
        self.channels = tuple(c for c in SCORED if c in scores.channels)
        if len(self.channels) < 2:
            raise InputError(
                f"Tuning needs scores of two channels or more of {', '.join(SCORED)}; there are "
                f"{', '.join(scores.channels)}."
            )
        _, self.layout = layout_of(scores.slices)
        self._parts = [_Part(one, _gains(one.slice)) for one in scores.slices]
        self.deviation = {c: self._deviation(c) for c in self.channels}
        self._known: dict[tuple[object, ...], Values] = {}

    @cached_property
    def importance(self) -> Values:
        """What each ranking counts, `(n,)`: cells count alike, their sum is 1."""
        cell = self.layout.cell
        counts = np.bincount(cell)
        return np.asarray(1.0 / (counts[cell] * len(counts)), np.float64)

    def values(self, preset: Preset) -> Values:
        """nDCG@10 of each ranking, `(n,)`."""
        key = (preset.fusion, preset.k, *preset.weights.values())
        if key not in self._known:
            self._known[key] = np.concatenate([part.values(preset) for part in self._parts])
        return self._known[key]

    def _deviation(self, channel: str) -> float:
        rows = [part.scores.channels[channel].std(axis=1) for part in self._parts]
        return max(float(np.concatenate(rows).mean()), 1e-6)  # a channel may be all zero


@dataclass(frozen=True)
class _Part:
    """One slice: its scores, and the gain of each relevant unit at the top."""

    scores: SliceScores
    gains: Gains

    def values(self, preset: Preset) -> Values:
        """nDCG@10 of the slice's queries."""
        fused = aggregate(self._fused(preset), self.scores.slice, self.scores.aggregate)
        found = np.zeros(len(fused), np.float64)
        place = np.arange(fused.shape[1])
        for rows, columns, gains in self.gains:
            listed = fused if len(rows) == len(fused) else fused[rows]
            own = fused[rows, columns][:, None]
            before = (listed > own) | ((listed == own) & (place > columns[:, None]))
            rank = 1 + np.count_nonzero(before, axis=1)
            found[rows] += np.where(rank <= DEPTH, gains / np.log2(rank + 1), 0.0)
        return found

    def _fused(self, preset: Preset) -> Floats:
        """As `weighted_sum` and `reciprocal_rank_fusion`, all queries at once."""
        weights = {c: w for c, w in preset.weights.items() if w > 0}
        if preset.fusion == "weighted":
            total = np.zeros(self._shape, np.float32)
            for channel, weight in weights.items():
                total += np.float32(weight) * self.scores.channels[channel]
            return total
        exact = np.zeros(self._shape, np.float64)  # ranks make ties; they must stay ties
        for channel in weights:
            exact += 1.0 / (preset.k + self._ranks[channel])
        return exact.astype(np.float32)

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self.scores.slice.queries), len(self.scores.slice.passages)

    @cached_property
    def _ranks(self) -> dict[str, Floats]:
        """The place of each passage on each channel, `(n queries, n passages)`; inf: not listed."""
        return {
            channel: np.array([ranks(row, channel) for row in scores], np.float32)
            for channel, scores in self.scores.channels.items()
        }


def _gains(one: Slice) -> Gains:
    """The relevant units that can be ranked, with their share of the best possible DCG."""
    column = {unit: i for i, unit in enumerate(one.units)}
    slots: list[list[tuple[int, int, float]]] = []
    for row, relevant in enumerate(one.relevant):
        best = sorted(relevant.values(), reverse=True)[:DEPTH]
        ideal = sum(grade / np.log2(rank + 1) for rank, grade in enumerate(best, 1))
        found = ((unit, grade) for unit, grade in relevant.items() if unit in column)
        for slot, (unit, grade) in enumerate(found):
            slots += [[]] if slot == len(slots) else []
            slots[slot].append((row, column[unit], grade / ideal))
    return [_columns(slot) for slot in slots]


def _columns(
    slot: list[tuple[int, int, float]],
) -> tuple[NDArray[np.int64], NDArray[np.int64], Values]:
    rows, columns, gains = zip(*slot, strict=True)
    return np.array(rows), np.array(columns), np.array(gains)
