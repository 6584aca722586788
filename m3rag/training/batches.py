"""Which examples a step takes, and what is a negative of what.

The order is a function of the seed and the epoch alone, the texts that are drawn one of the seed,
the epoch and the batch: nothing needs to be remembered to go on in the middle of a run.
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

_POOL = 32  # batches: among so many examples, alike ones in length come together
_ORDER, _TEXTS = 0, 1  # what a random generator is for
Ints = NDArray[np.int64]


class Batches:
    """The batches of every epoch, each of examples alike in length."""

    def __init__(self, examples: Examples, settings: TrainingSettings) -> None:
        self._examples = examples
        self._settings = settings
        self._quotas = _quotas(examples.sources, settings.source_power)
        self._epoch = -1
        self._order: list[Ints] = []
        self.per_epoch = len(self.order(0))

    def order(self, epoch: int) -> list[Ints]:
        """The numbers of the examples of each batch of an epoch."""
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._arrange(epoch)
        return self._order

    def draw(self, number: int) -> list[Group]:
        """The groups of a batch, counted through all epochs."""
        epoch, place = divmod(number, self.per_epoch)
        rng = np.random.default_rng((self._settings.seed, epoch, _TEXTS, place))
        size = self._settings.group_size
        return [self._examples[i].draw(rng, size) for i in self.order(epoch)[place].tolist()]

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
            for pool in _shared_out(part, size * _POOL):
                alike = pool[np.argsort(self._examples.sizes[pool], kind="stable")]
                batches += _shared_out(alike, size)
        return [batches[i] for i in rng.permutation(len(batches))]


@dataclass(frozen=True, slots=True)
class Contrast:
    """How the passages of n groups, m in all and in their order, relate to the n queries.

    Attributes:
        target: `(n,)`, the column of each query's positive.
        excluded: bool `(n, m)`, True where a passage is neither the positive nor a negative.
    """

    target: Ints
    excluded: NDArray[np.bool_]


def contrast(groups: Sequence[Group], *, in_batch: bool) -> Contrast:
    """What is a negative of what.

    The other groups' passages are, if `in_batch` is true, but for those of a group with the same
    key or query, and for texts that are an answer.
    """
    owner = np.repeat(np.arange(len(groups)), [len(group.passages) for group in groups])  # (m,)
    target = np.searchsorted(owner, np.arange(len(groups)))  # (n,)
    foreign = owner != np.arange(len(groups))[:, None]  # (n, m)
    queries = _numbers([group.query for group in groups])
    # Without a key a group is alone with its own.
    keys = _numbers([i if group.key is None else group.key for i, group in enumerate(groups)])
    alike = (queries[:, None] == queries) | (keys[:, None] == keys)  # (n, n)
    excluded = foreign & (alike[:, owner] | (not in_batch))
    columns = defaultdict(list)
    for column, text in enumerate(text for group in groups for text in group.passages):
        columns[text].append(column)
    for row, group in enumerate(groups):
        for answer in group.answers & columns.keys():
            excluded[row, columns[answer]] = True
    excluded[np.arange(len(groups)), target] = False
    return Contrast(target, excluded)


def _numbers(labels: Sequence[object]) -> Ints:
    """A number for each label, equal for equal ones."""
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(label, len(seen)) for label in labels], np.int64)


def _quotas(sources: Ints, power: float) -> list[int]:
    """How many examples of each source an epoch takes: as many as there are, shared by size."""
    counts = np.bincount(sources)
    shares = counts**power / (counts**power).sum()
    return [max(1, round(len(sources) * share)) for share in shares]


def _sample(numbers: Ints, count: int, rng: np.random.Generator) -> Ints:
    """`count` of the numbers in random order, none twice before each has come once."""
    rounds = math.ceil(count / len(numbers))
    return np.concatenate([rng.permutation(numbers) for _ in range(rounds)])[:count]


def _shared_out(numbers: Ints, size: int) -> list[Ints]:
    """Parts of at most `size`, as even as they can be: no small remainder."""
    return np.array_split(numbers, math.ceil(len(numbers) / size))
