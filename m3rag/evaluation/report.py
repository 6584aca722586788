"""What an evaluation found: a value for every query, and the tables over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from m3rag.errors import InputError
from m3rag.evaluation.slices import POOLED, Level
from m3rag.evaluation.statistics import Layout, Values

Table = dict[str, dict[str, float]]
"""Channel or fusion -> metric -> value."""

CURVE = (1, 2, 3, 5, 10, 20, 50, 100)  # the cutoffs of the recall curve


@dataclass(frozen=True, slots=True)
class Cell:
    """One subset, one language of queries, one language of documents ("all": a whole corpus)."""

    subset: str
    asked: str
    answered: str

    @property
    def pair(self) -> str:
        """Such as "es-en": the query's language first."""
        return f"{self.asked}-{self.answered}"

    @property
    def same(self) -> bool:
        """Whether query and documents are of one language."""
        return self.asked == self.answered


@dataclass(frozen=True, slots=True)
class Difference:
    """What one system has over another in a metric.

    Attributes:
        mean: the first one's mean minus the second one's.
        low: the lower end of its 95 % confidence interval.
        high: the upper end.
        p: how probable a difference of this size is if the two are alike.
    """

    mean: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Report:
    """The values of every channel and fusion.

    Attributes:
        set: the set's name.
        model: the model's name, or the run file's.
        level: "document" or "passage".
        metrics: what the tables show.
        keys: (query id, subset, language of documents) of each observation.
        cells: what the observations are averaged over first.
        layout: which question and cell each observation belongs to.
        values: channel -> metric -> one value an observation.
        overlap: for two channels the mean share of their top 10 in common.
        left_out: how often a query had nothing relevant in a slice, and was left out there.
    """

    set: str
    model: str
    level: Level
    metrics: tuple[str, ...]
    keys: list[tuple[str, str, str]]
    cells: list[Cell]
    layout: Layout
    values: dict[str, dict[str, Values]]
    overlap: dict[tuple[str, str], float]
    left_out: int

    @cached_property
    def channels(self) -> Table:
        """The mean over all cells."""
        return self._table(lambda cell: True)

    @cached_property
    def same(self) -> Table:
        """The mean over the cells with one language; empty if there are none."""
        return self._table(lambda cell: cell.same)

    @cached_property
    def cross(self) -> Table:
        """The mean over the cells with two languages; empty if there are none."""
        return self._table(lambda cell: not cell.same and cell.answered != POOLED)

    @cached_property
    def pairs(self) -> dict[str, Table]:
        """A table for each pair of languages, such as "es-en": query first, document second."""
        names = sorted({cell.pair for cell in self.cells})
        return {name: self._table(lambda cell, name=name: cell.pair == name) for name in names}  # type: ignore[misc]

    @cached_property
    def intervals(self) -> dict[str, dict[str, tuple[float, float]]]:
        """95 % confidence intervals of `channels`, by bootstrap over questions."""
        cells = range(len(self.cells))
        return {
            name: {m: self.layout.interval(values[m], list(cells)) for m in self.metrics}
            for name, values in self.values.items()
        }

    @cached_property
    def curve(self) -> dict[str, dict[int, float]]:
        """The recall of each channel at several depths, the mean over all cells."""
        return {
            name: {k: float(self.layout.cell_means(values[f"recall@{k}"]).mean()) for k in CURVE}
            for name, values in self.values.items()
        }

    def compare(self, other: Report, *, to: str | None = None) -> dict[str, dict[str, Difference]]:
        """What each channel has over another report's channel of the same name.

        Args:
            other: of the same set and questions; may be this very report.
            to: compare every channel with this one of `other`.

        Raises:
            InputError: the reports have different observations, or no channel to compare.
        """
        if to is not None and to not in other.values:
            raise InputError(f"There is no channel {to!r}; there are {', '.join(other.values)}.")
        chosen = {name: to or name for name in self.values if (to or name) in other.values}
        if not chosen:
            raise InputError(
                f"No channel in common: {', '.join(self.values)} and {', '.join(other.values)}. "
                "Name the one to compare with."
            )
        place = {key: row for row, key in enumerate(other.keys)}
        if place.keys() != set(self.keys):
            raise InputError(
                f"The two reports judge different things: {len(self.keys):,} and "
                f"{len(other.keys):,} rankings, {len(place.keys() & set(self.keys)):,} of them in "
                "common. Evaluate both on one set with the same pairs, level and every."
            )
        rows = np.array([place[key] for key in self.keys])
        return {
            name: {
                metric: self._difference(self.values[name][metric] - theirs[metric][rows])
                for metric in self.metrics
                if metric in theirs
            }
            for name, theirs in ((name, other.values[match]) for name, match in chosen.items())
        }

    def to_dict(self) -> dict[str, Any]:
        """The tables as JSON values: set, model, channels, same, cross, pairs."""
        return {
            "set": self.set,
            "model": self.model,
            "channels": self.channels,
            "same": self.same,
            "cross": self.cross,
            "pairs": self.pairs,
        }

    def _table(self, chosen: Callable[[Cell], bool]) -> Table:
        cells = [i for i, cell in enumerate(self.cells) if chosen(cell)]
        if not cells:
            return {}
        return {
            name: {m: float(self.layout.cell_means(values[m])[cells].mean()) for m in self.metrics}
            for name, values in self.values.items()
        }

    def _difference(self, values: Values) -> Difference:
        cells = list(range(len(self.cells)))
        low, high = self.layout.interval(values, cells)
        mean = float(self.layout.cell_means(values).mean())
        return Difference(mean, low, high, self.layout.significance(values, cells))
