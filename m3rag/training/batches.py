"""The batches of a run, and which passages are negatives of which queries.

The order depends only on the seed and the epoch; the texts that are drawn depend on the seed, the
epoch and the batch. A run can therefore resume at any step without a saved random state.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from m3rag.training.example import Group, LanguagePair
from m3rag.training.examples import Examples
from m3rag.training.settings import TrainingSettings

_POOL = 32  # batches whose examples are sorted by length together
_TRIES = 8  # pairs of languages that are tried for a batch
_ORDER, _TEXTS = 0, 1  # the purpose of a random generator, as a part of its seed
Ints = NDArray[np.int64]


class Batch(NamedTuple):
    """The examples of a batch, and the languages that are drawn from each; None for any."""

    numbers: Ints
    languages: LanguagePair | None = None


class Batches:
    """The batches of each epoch, each with examples of similar length."""

    def __init__(self, examples: Examples, settings: TrainingSettings) -> None:
        self._examples = examples
        self._settings = settings
        self._quotas = _quotas(examples.sources, settings.source_power)
        self._epoch = -1
        self._order: list[Batch] = []
        self.per_epoch = len(self.order(0))

    def order(self, epoch: int) -> list[Batch]:
        """Return the batches of an epoch."""
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._arrange(epoch)
        return self._order

    def draw(self, number: int) -> list[Group]:
        """Draw the groups of a batch; `number` counts the batches of all epochs."""
        epoch, position = divmod(number, self.per_epoch)
        rng = np.random.default_rng((self._settings.seed, epoch, _TEXTS, position))
        size = self._settings.group_size
        order = self.order(epoch)
        batch = order[position % len(order)]  # an epoch can have a few batches less than the first
        return [self._examples[i].draw(rng, size, batch.languages) for i in batch.numbers.tolist()]

    def _arrange(self, epoch: int) -> list[Batch]:
        rng = np.random.default_rng((self._settings.seed, epoch, _ORDER))
        size = self._settings.batch
        batches: list[Batch] = []
        for part in self._parts(epoch, rng):
            alike = round(self._settings.same_language * len(part))
            others = [part[alike:]]
            for pool in _split_evenly(part[:alike], size * _POOL):
                found, left = self._of_one_language(pool, rng)
                batches += found
                others.append(left)
            for pool in _split_evenly(np.concatenate(others), size * _POOL):
                by_size = pool[np.argsort(self._examples.sizes[pool], kind="stable")]
                batches += [Batch(numbers) for numbers in _split_evenly(by_size, size)]
        return [batches[i] for i in rng.permutation(len(batches))]

    def _parts(self, epoch: int, rng: np.random.Generator) -> Iterator[Ints]:
        """Yield the examples of an epoch in parts, from which batches are filled separately."""
        samples = [
            _sample(np.flatnonzero(self._examples.sources == source), quota, rng)
            for source, quota in enumerate(self._quotas)
        ]
        share, size = float(self._settings.same_source), self._settings.batch
        if share == 0:
            yield rng.permutation(np.concatenate(samples))
        elif share == 1:
            yield from samples
        else:
            mixed = []
            for sample in samples:  # full batches, rounded so that the share is right on average
                full = min(len(sample) // size, int(share * len(sample) / size + rng.random()))
                yield sample[: full * size]
                mixed.append(sample[full * size :])
            yield rng.permutation(np.concatenate(mixed))

    def _of_one_language(self, pool: Ints, rng: np.random.Generator) -> tuple[list[Batch], Ints]:
        """Fill batches that have one language of queries and one of passages.

        Their examples have similar lengths. Returns the batches, and the examples that are left
        because they do not fill half a batch of any pair of languages that was tried.
        """
        size, examples = self._settings.batch, self._examples
        batches: list[Batch] = []
        pool = pool[np.argsort(examples.sizes[pool], kind="stable")]
        numbers, which = np.unique(examples.languages[pool], return_inverse=True)
        sets = [examples.language_pairs[number] for number in numbers]
        while len(pool):
            best, languages = pool[:0], ("", "")
            for row in rng.integers(len(pool), size=_TRIES).tolist():
                pairs = sorted(sets[which[row]])
                pair = pairs[rng.integers(len(pairs))]
                found = np.flatnonzero(np.array([pair in each for each in sets])[which])
                if len(found) > len(best):
                    best, languages = found, pair
                if len(best) >= size:
                    break
            if 2 * len(best) < size:
                break
            first = int(rng.integers(max(1, len(best) - size + 1)))
            chosen = best[first : first + size]
            batches.append(Batch(pool[chosen], languages))
            pool, which = np.delete(pool, chosen), np.delete(which, chosen)
        return batches, pool


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
    return np.array_split(numbers, math.ceil(len(numbers) / size)) if len(numbers) else []
