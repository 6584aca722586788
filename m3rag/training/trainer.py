"""The training loop: steps, evaluations, saves."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from m3rag.errors import TrainingError, TruncationWarning
from m3rag.evaluation import RetrievalSet, evaluate
from m3rag.model import checkpoint as checkpoints
from m3rag.model.backbone import Backbone
from m3rag.model.checkpoint import Checkpoint
from m3rag.model.kernels.device import training_dtype
from m3rag.model.model import M3Model
from m3rag.model.network import M3Network
from m3rag.model.scoring_network import ScoringNetwork
from m3rag.training.average import WeightAverage
from m3rag.training.gradients import ViewObjective
from m3rag.training.interrupt import Interrupt
from m3rag.training.log import Log
from m3rag.training.losses import PARTS
from m3rag.training.mix import Mix
from m3rag.training.objective import Objective, TokenizedGroup
from m3rag.training.optimizer import optimizer_of, set_rate
from m3rag.training.pair_objective import PairObjective
from m3rag.training.prefetch import Prefetch
from m3rag.training.processes import Processes
from m3rag.training.settings import TrainingSettings
from m3rag.training.state import State, TrainingProgress
from m3rag.training.teacher import VectorTeacher, identity_of
from m3rag.training.trainable import to_checkpoint, trainable

FOLDER = "training"
_CHANGEABLE = ("save_every", "evaluate_every")  # may differ when a run is resumed
_VIEWS = ("dense", "sparse", "colbert")
_METRICS = ("ndcg@10", "recall@1", "recall@10")
OnStep = Callable[["Report"], None]


@dataclass(frozen=True, slots=True)
class Report:
    """The state of a run after a step.

    Attributes:
        progress: The progress of the run, with the losses and the last held-out scores.
        steps: The maximum number of optimizer steps of the whole run.
        done: The share of the run that is over.
        task: The name of the task that the step came from.
    """

    progress: TrainingProgress
    steps: int
    done: float
    task: str = ""


class Batch(NamedTuple):
    """The number of a task, and its groups that make a step."""

    task: int
    groups: Sequence[TokenizedGroup]


class Trainer:
    """A run: the network, the optimizer and their progress."""

    def __init__(
        self,
        mix: Mix,
        start: Checkpoint,
        to: Path,
        settings: TrainingSettings,
        processes: Processes,
        *,
        teacher: VectorTeacher | None = None,
        held_out: RetrievalSet | None = None,
        on_step: OnStep | None = None,
    ) -> None:
        self._to, self._start, self._settings, self._processes = to, start, settings, processes
        self._mix, self._held_out, self._on_step = mix, held_out, on_step
        identity = settings.to_dict() | mix.identity()
        identity |= {
            "model": start.fingerprint(),
            "processes": processes.count,
            "teacher_vectors": teacher and identity_of(teacher),
        }
        identity = {name: value for name, value in identity.items() if name not in _CHANGEABLE}
        self._state = State(to / FOLDER, identity, TrainingSettings().to_dict() | {"tasks": []})
        saved = self._state.progress()
        if saved is None and to.is_dir() and any(to.iterdir()):
            raise TrainingError(f"{to} is not empty and holds no run. Train to a new folder.")
        self.progress = saved or TrainingProgress()
        self._network, self._objectives = _network_and_losses(
            mix, start, settings, processes.device, teacher
        )
        self._optimizer = optimizer_of(self._network, settings)
        self._average = WeightAverage(self._network, settings.average) if settings.average else None
        if saved is not None:
            self._state.load(self._network, self._optimizer, self._averages)
        optional = {
            "distillation": settings.distil,
            "teacher_vectors": teacher is not None,
            "centre": any(own.centre_weight for own in mix.settings),
        }
        columns = () if settings.cross_encoder else PARTS
        self._parts = [part for part in columns if optional.get(part, True)]  # of the log
        self._per_epoch = max(1, mix.per_epoch // processes.count)  # steps
        self.steps = math.ceil(settings.epochs * self._per_epoch)
        if settings.max_steps is not None:
            self.steps = min(self.steps, settings.max_steps)

    @property
    def done(self) -> float:
        """The share of the run that is over, by steps or by the clock."""
        minutes = self._settings.minutes
        by_clock = 0.0 if minutes is None else self.progress.seconds / (60 * minutes)
        return min(1.0, max(self.progress.step / self.steps, by_clock))

    def run(self) -> TrainingProgress:
        """Train to the end; evaluate and save on the way."""
        progress, settings = self.progress, self._settings
        if progress.finished:
            return progress
        self._processes.wait()  # all have read the folder; now the first may write to it
        log = Log(self._to / FOLDER, step=progress.step) if self._processes.first else None
        with Prefetch(self._draw) as batches, Interrupt() as interrupt:
            while self.done < 1:
                began = time.monotonic()
                batch = batches.take(progress.step, last=progress.step + 1 >= self.steps)
                self._warn_truncated(batch)
                row = self._step(batch, began)
                step, over = progress.step, self.done >= 1
                if log is not None:
                    log.step(row)
                every = settings.evaluate_every
                if self._held_out is not None and (over or (every and step % every == 0)):
                    self._evaluate(log)
                if self._on_step is not None and self._processes.first:
                    name = self._mix.tasks[batch.task].name
                    self._on_step(Report(progress, self.steps, self.done, name))
                requests = self._processes.total({"stop": float(interrupt.requested)})
                stopped = requests["stop"] > 0
                if step % settings.save_every == 0 and not (over or stopped):
                    self._save()
                if stopped and not over:
                    self._save(model=True)
                    raise KeyboardInterrupt
        progress.finished = True
        self._save(model=True)
        return progress

    def _step(self, batch: Batch, began: float) -> dict[str, float | str]:
        """Take an optimizer step that began at a time; returns its row of the log."""
        progress, settings = self.progress, self._settings
        # The rate is that of the middle of the step, so that no step has a rate of 0.
        length = self.done / progress.step if progress.step else 1 / self.steps
        share = set_rate(self._optimizer, settings, min(1.0, self.done + 0.5 * length))
        torch.manual_seed(hash((settings.seed, progress.step, self._processes.rank)))
        self._optimizer.zero_grad()
        objective, distil = self._objectives[batch.task], progress.step >= settings.distil_from
        losses = objective.backward(batch.groups, distil=distil)
        self._processes.average_gradients(self._network)
        trained = [p for p in self._network.parameters() if p.requires_grad]
        norm = float(torch.nn.utils.clip_grad_norm_(trained, settings.clip))
        counts = {
            "queries": len(batch.groups),
            "tokens": sum(group.tokens for group in batch.groups),
        }
        names = ("loss", *self._parts)  # those of all processes, whose tasks may differ
        sums = self._processes.total(counts | {name: losses.get(name, 0.0) for name in names})
        losses = {name: sums[name] / self._processes.count for name in names if name in losses}
        if not (math.isfinite(losses["loss"]) and math.isfinite(norm)):
            self._diverged(losses["loss"], norm)
        self._optimizer.step()
        progress.step += 1
        if self._average is not None:
            self._average.update(progress.step)
        progress.queries += round(sums["queries"])
        progress.tokens += round(sums["tokens"])
        progress.losses = losses
        seconds = self._processes.total({"s": time.monotonic() - began})["s"]
        progress.seconds += seconds / self._processes.count
        several = len(self._mix.tasks) > 1
        return {
            "step": progress.step,
            "epoch": progress.step / self._per_epoch,
            "minutes": progress.seconds / 60,
            "queries": progress.queries,
            "tokens": progress.tokens,
            **({"task": self._mix.tasks[batch.task].name} if several else {}),
            "learning_rate": settings.learning_rate * share,
            "gradient": norm,
            **{name: losses.get(name, "") for name in names},
        }

    def _draw(self, step: int) -> Batch:
        """Return the batch of a step, in this process; called in another thread."""
        epoch, position = divmod(step, self._per_epoch)
        batch = (position * self._processes.count + self._processes.rank) % self._mix.per_epoch
        task, groups = self._mix.draw(epoch * self._mix.per_epoch + batch)
        return Batch(task, self._objectives[task].tokenize(groups))

    def _warn_truncated(self, batch: Batch) -> None:
        queries, passages = (sum(cut) for cut in zip(*(g.cut for g in batch.groups), strict=True))
        if (queries or passages) and not self.progress.truncated:
            settings = self._mix.settings[batch.task]
            warnings.warn(
                f"In step {self.progress.step + 1}, {queries} of {len(batch.groups)} queries were "
                f"cut to {settings.max_query_length} tokens and {passages} of their passages to "
                f"{settings.max_passage_length}. Raise `max_query_length` or "
                "`max_passage_length` to train on whole texts. Later cuts are only counted.",
                TruncationWarning,
                stacklevel=4,
            )
        self.progress.truncated += queries + passages

    def _evaluate(self, log: Log | None) -> None:
        if log is not None and self._held_out is not None:
            device = self._processes.device
            self.progress.scores = _held_out_scores(self._checkpoint(), self._held_out, device)
            log.scores({"step": self.progress.step, **self.progress.scores})
        self._processes.wait()

    def _save(self, *, model: bool = False) -> None:
        if self._processes.first:
            self._state.save(self._network, self._optimizer, self.progress, self._averages)
            if model:
                checkpoints.write(self._checkpoint(), self._to)
        self._processes.wait()

    @property
    def _averages(self) -> Mapping[str, Tensor]:
        return {} if self._average is None else self._average.tensors

    def _checkpoint(self) -> Checkpoint:
        """Return the model as it is to be written."""
        with nullcontext() if self._average is None else self._average.in_place():
            return to_checkpoint(self._network, self._start)

    def _diverged(self, loss: float, norm: float) -> None:
        self._save(model=True)
        raise TrainingError(
            f"The run diverged at step {self.progress.step + 1}: the loss is {loss}, the norm of "
            f"the gradient {norm}. {self._to} holds the model before this step. Train to another "
            f"folder with a `learning_rate` below {self._settings.learning_rate:g}."
        )


def _network_and_losses(
    mix: Mix,
    start: Checkpoint,
    settings: TrainingSettings,
    device: torch.device,
    teacher: VectorTeacher | None,
) -> tuple[Backbone, list[Objective]]:
    """Return the network to train and the loss of each task."""
    dtype, tokenizer = training_dtype(settings.dtype, device), start.tokenizer
    if settings.cross_encoder:
        scoring = trainable(ScoringNetwork, start, settings, device)
        return scoring, [PairObjective(scoring, tokenizer, own, dtype) for own in mix.settings]
    network = trainable(M3Network, start, settings, device)
    return network, [ViewObjective(network, tokenizer, own, dtype, teacher) for own in mix.settings]


def _held_out_scores(
    checkpoint: Checkpoint, data: RetrievalSet, device: torch.device
) -> dict[str, float]:
    """Return each metric of each view and of their sum, such as `{"dense ndcg@10": 0.53, …}`."""
    with M3Model(checkpoint, device=device, memo_bytes=0) as model:
        report = evaluate(model, data, channels=_VIEWS, weights=["default"], metrics=_METRICS)
    return {
        f"{channel} {metric}": value
        for channel, values in report.channels.items()
        for metric, value in values.items()
    }
