"""The results of an evaluation: a value for every query, and tables of means."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from m3rag.errors import InputError
from m3rag.evaluation.slices import POOLED, Level
from m3rag.evaluation.statistics import Layout, Values

Table = dict[str, dict[str, float]]
"""Channel or fusion -> metric -> value."""

CURVE = (1, 2, 3, 5, 10, 20, 50, 100)  # cutoffs of the recall curve


@dataclass(frozen=True, slots=True)
class Cell:
    """A subset with one language of queries and one language of documents.

    Attributes:
        subset: The subset; "" if the set has none.
        asked: The language of the queries.
        answered: The language of the documents; "all" for the whole corpus.
    """

    subset: str
    asked: str
    answered: str

    @property
    def pair(self) -> str:
        """The pair of languages, such as "es-en", query language first."""
        return f"{self.asked}-{self.answered}"

    @property
    def same(self) -> bool:
        """Whether queries and documents are in the same language."""
        return self.asked == self.answered


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference between two systems in one metric.

    Attributes:
        mean: The mean of the first minus the mean of the second.
        low: The lower end of its 95 % confidence interval.
        high: The upper end.
        p: The probability of a difference this large if both were equally good.
    """

    mean: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Report:
    """The values of every channel and fusion.

    Attributes:
        set: The name of the set.
        model: The name of the model or the run.
        level: "document" or "passage".
        metrics: The metrics of the tables.
        keys: (query id, subset, language of documents) of each observation.
        cells: The cells; observations are averaged within a cell first.
        layout: The question and the cell of each observation.
        values: Channel or fusion -> metric -> one value for each observation.
        overlap: The mean share of the top 10 that two channels have in common.
        left_out: How often a query had nothing relevant in a slice and was left out there.
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
        return self._table(self.cells)

    @cached_property
    def same(self) -> Table:
        """The mean over the cells with one language; empty if there are none."""
        return self._table([cell for cell in self.cells if cell.same])

    @cached_property
    def cross(self) -> Table:
        """The mean over the cells with two languages; empty if there are none."""
        return self._table([c for c in self.cells if not c.same and c.answered != POOLED])

    @cached_property
    def pairs(self) -> dict[str, Table]:
        """A table for each pair of languages, such as "es-en", query language first."""
        names = sorted({cell.pair for cell in self.cells})
        return {name: self._table([c for c in self.cells if c.pair == name]) for name in names}

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
        """The recall of each channel at several cutoffs, the mean over all cells."""
        return {
            name: {k: float(self.layout.cell_means(values[f"recall@{k}"]).mean()) for k in CURVE}
            for name, values in self.values.items()
        }

    def compare(self, other: Report, *, to: str | None = None) -> dict[str, dict[str, Difference]]:
        """Compare each channel with the channel of the same name in another report.

        Args:
            other: A report on the same set and questions; may be this report.
            to: The channel of `other` to compare every channel with.

        Returns:
            Channel -> metric -> difference.

        Raises:
            InputError: The reports have different observations, or no channel in common.
        """
        if to is not None and to not in other.values:
            raise InputError(
                f"There is no channel {to!r}. The channels are {', '.join(other.values)}."
            )
        chosen = {name: to or name for name in self.values if (to or name) in other.values}
        if not chosen:
            raise InputError(
                f"The reports have no channel in common: {', '.join(self.values)} and "
                f"{', '.join(other.values)}. Use `to` to name the channel to compare with."
            )
        place = {key: row for row, key in enumerate(other.keys)}
        if place.keys() != set(self.keys):
            raise InputError(
                f"The reports have different rankings: {len(self.keys):,} and "
                f"{len(other.keys):,}, {len(place.keys() & set(self.keys)):,} of them in common. "
                "Evaluate both on one set with the same pairs, level and every."
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

    def _table(self, cells: Collection[Cell]) -> Table:
        """Return the means over some cells; empty if there are none."""
        rows = [row for row, cell in enumerate(self.cells) if cell in cells]
        if not rows:
            return {}
        return {
            name: {m: float(self.layout.cell_means(values[m])[rows].mean()) for m in self.metrics}
            for name, values in self.values.items()
        }

    def _difference(self, values: Values) -> Difference:
        cells = list(range(len(self.cells)))
        low, high = self.layout.interval(values, cells)
        mean = float(self.layout.cell_means(values).mean())
        return Difference(mean, low, high, self.layout.significance(values, cells))
