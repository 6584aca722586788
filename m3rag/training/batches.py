"""The batches of a run, and which passages are negatives of which queries.

The order depends only on the seed and the epoch; the texts that are drawn depend on the seed, the
epoch and the batch. A run can therefore resume at any step without a saved random state.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3rag.training.example import Group
from m3rag.training.examples import Examples
from m3rag.training.settings import TrainingSettings

_POOL = 32  # batches whose examples are sorted by length together
_ORDER, _TEXTS = 0, 1  # the purpose of a random generator, as a part of its seed
Ints = NDArray[np.int64]


class Batches:
    """The batches of each epoch, each with examples of similar length."""

    def __init__(self, examples: Examples, settings: TrainingSettings) -> None:
        self._examples = examples
        self._settings = settings
        self._quotas = _quotas(examples.sources, settings.source_power)
        self._epoch = -1
        self._order: list[Ints] = []
        self.per_epoch = len(self.order(0))

    def order(self, epoch: int) -> list[Ints]:
        """Return the numbers of the examples in each batch of an epoch."""
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._arrange(epoch)
        return self._order

    def draw(self, number: int) -> list[Group]:
        """Draw the groups of a batch; `number` counts the batches of all epochs."""
        epoch, position = divmod(number, self.per_epoch)
        rng = np.random.default_rng((self._settings.seed, epoch, _TEXTS, position))
        size = self._settings.group_size
        return [self._examples[i].draw(rng, size) for i in self.order(epoch)[position].tolist()]

    def _arrange(self, epoch: int) -> list[Ints]:
        rng = np.random.default_rng((self._settings.seed, epoch, _ORDER))
        parts = [
            _sample(np.flatnonzero(self._examples.sources == source), quota, rng)
            for source, quota in enumerate(self._quotas)
        ]
        if not self._settings.same_source:
            parts = [rng.permutation(np.concatenate(parts))]
        size = self._settings.batch
        batches: list[Ints] = []
        for part in parts:
            for pool in _split_evenly(part, size * _POOL):
                by_size = pool[np.argsort(self._examples.sizes[pool], kind="stable")]
                batches += _split_evenly(by_size, size)
        return [batches[i] for i in rng.permutation(len(batches))]


@dataclass(frozen=True, slots=True)
class Contrast:
    """The relation of n queries to the m passages of their groups, in the order of the groups.

    Attributes:
        target: The column of each query's positive, `(n,)`.
        excluded: Bool `(n, m)`, True where a passage is neither the positive nor a negative.
    """

    target: Ints
    excluded: NDArray[np.bool_]


def contrast(groups: Sequence[Group], *, in_batch: bool) -> Contrast:
    """Return the positive of each query, and which passages are not its negatives.

    With `in_batch`, the passages of other groups are negatives too, except those of groups with
    the same key or query. A text that answers the query is never a negative.
    """
    owner = np.repeat(np.arange(len(groups)), [len(group.passages) for group in groups])  # (m,)
    target = np.searchsorted(owner, np.arange(len(groups)))  # (n,)
    other_group = owner != np.arange(len(groups))[:, None]  # (n, m)
    queries = _numbers([group.query for group in groups])
    # Each group without a key gets a key of its own.
    keys = _numbers([i if group.key is None else group.key for i, group in enumerate(groups)])
    related = (queries[:, None] == queries) | (keys[:, None] == keys)  # (n, n)
    excluded = other_group & (related[:, owner] | (not in_batch))
    columns = defaultdict(list)
    for column, text in enumerate(text for group in groups for text in group.passages):
        columns[text].append(column)
    for row, group in enumerate(groups):
        for answer in group.answers & columns.keys():
            excluded[row, columns[answer]] = True
    excluded[np.arange(len(groups)), target] = False
    return Contrast(target, excluded)


def _numbers(labels: Sequence[object]) -> Ints:
    """Return a number for each label; equal labels have equal numbers."""
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(label, len(seen)) for label in labels], np.int64)


def _quotas(sources: Ints, power: float) -> list[int]:
    """Return how many examples of each source an epoch uses; together, as many as there are.

    The share of a source with n examples is proportional to `n ** power`.
    """
    counts = np.bincount(sources)
    shares = counts**power / (counts**power).sum()
    return [max(1, round(len(sources) * share)) for share in shares]


def _sample(numbers: Ints, count: int, rng: np.random.Generator) -> Ints:
    """Return `count` numbers in random order; none repeats before each has been used once."""
    rounds = math.ceil(count / len(numbers))
    return np.concatenate([rng.permutation(numbers) for _ in range(rounds)])[:count]


def _split_evenly(numbers: Ints, size: int) -> list[Ints]:
    """Split into parts of at most `size` whose lengths differ by at most one."""
    return np.array_split(numbers, math.ceil(len(numbers) / size))
