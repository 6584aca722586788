"""The mix of a run: its tasks, and which of them each batch comes from.

The order of the tasks depends only on the seed and the epoch, like that of the examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from m3rag.training.batches import Batches, Ints
from m3rag.training.example import Group
from m3rag.training.examples import Examples
from m3rag.training.settings import TrainingSettings
from m3rag.training.task import Task, check_names

_TASKS = 2  # the purpose of a random generator, as a part of its seed; `Batches` uses 0 and 1


class Mix:
    """The tasks of a run, with their examples.

    An epoch has as many batches as all tasks have together. Each task has its share of them: one
    with few examples repeats them, one with many leaves some for the next epoch.

    Attributes:
        tasks: The tasks.
        settings: The settings of each task.
        examples: The examples of each task.
        per_epoch: The number of batches in an epoch.
    """

    def __init__(self, tasks: Sequence[Task], run: TrainingSettings) -> None:
        """Read the examples of all tasks.

        Raises:
            InputError: The data cannot be used, or two tasks have one name.
        """
        check_names(tasks)
        self.tasks = list(tasks)
        self.settings = [task.settings(run) for task in tasks]
        self.examples = [Examples(task.files) for task in tasks]
        self._batches = [Batches(*pair) for pair in zip(self.examples, self.settings, strict=True)]
        self._seed = run.seed
        total = sum(batches.per_epoch for batches in self._batches)
        whole = sum(task.share for task in tasks)
        self._quotas = [max(1, round(total * task.share / whole)) for task in tasks]
        self.per_epoch = sum(self._quotas)
        self._epoch = -1
        self._order = np.empty(0, np.int64)

    def identity(self) -> dict[str, Any]:
        """Return what must be equal in two runs that train on the same, as JSON values."""
        several = len(self.tasks) > 1
        return {
            "data": "+".join(examples.digest for examples in self.examples),
            "tasks": [task.to_dict() for task in self.tasks] if several else [],
        }

    def draw(self, number: int) -> tuple[int, list[Group]]:
        """Draw a batch: the number of its task, and its groups.

        `number` counts the batches of all epochs.
        """
        epoch, position = divmod(number, self.per_epoch)
        order = self._arrange(epoch)
        task = int(order[position])
        earlier = int(np.count_nonzero(order[:position] == task))
        return task, self._batches[task].draw(epoch * self._quotas[task] + earlier)

    def _arrange(self, epoch: int) -> Ints:
        """Return the task of each batch of an epoch."""
        if epoch != self._epoch:
            rng = np.random.default_rng((self._seed, epoch, _TASKS))
            numbers = np.repeat(np.arange(len(self._quotas)), self._quotas)
            self._epoch, self._order = epoch, rng.permutation(numbers)
        return self._order
