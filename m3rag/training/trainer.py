"""The training loop: steps, evaluations, saves."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from m3rag.errors import TrainingError, TruncationWarning
from m3rag.evaluation import RetrievalSet, evaluate
from m3rag.model import checkpoint as checkpoints
from m3rag.model.checkpoint import Checkpoint
from m3rag.model.kernels.device import training_dtype
from m3rag.model.model import M3Model
from m3rag.training.batches import Batches
from m3rag.training.examples import Examples
from m3rag.training.gradients import Objective, Tokenized
from m3rag.training.interrupt import Interrupt
from m3rag.training.log import Log
from m3rag.training.optimizer import optimizer_of, set_rate
from m3rag.training.processes import Processes
from m3rag.training.settings import TrainingSettings
from m3rag.training.state import State, TrainingProgress
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
    """

    progress: TrainingProgress
    steps: int
    done: float


class Trainer:
    """A run: the network, the optimizer and their progress."""

    def __init__(
        self,
        examples: Examples,
        start: Checkpoint,
        to: Path,
        settings: TrainingSettings,
        processes: Processes,
        held_out: RetrievalSet | None,
        on_step: OnStep | None,
    ) -> None:
        self._to, self._start, self._settings, self._processes = to, start, settings, processes
        self._held_out, self._on_step = held_out, on_step
        identity = settings.to_dict() | {
            "data": examples.digest,
            "model": start.fingerprint(),
            "processes": processes.count,
        }
        identity = {name: value for name, value in identity.items() if name not in _CHANGEABLE}
        self._state = State(to / FOLDER, identity)
        saved = self._state.progress()
        if saved is None and to.is_dir() and any(to.iterdir()):
            raise TrainingError(f"{to} is not empty and holds no run. Train to a new folder.")
        self.progress = saved or TrainingProgress()
        self._batches = Batches(examples, settings)
        self._network = trainable(start, settings, processes.device)
        self._optimizer = optimizer_of(self._network, settings)
        if saved is not None:
            self._state.load(self._network, self._optimizer)
        self._objective = Objective(
            self._network,
            start.tokenizer,
            settings,
            training_dtype(settings.dtype, processes.device),
        )
        self._per_epoch = max(1, self._batches.per_epoch // processes.count)  # steps
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
        with Interrupt() as interrupt:
            while self.done < 1:
                row = self._step()
                step, over = progress.step, self.done >= 1
                if log is not None:
                    log.step(row)
                every = settings.evaluate_every
                if self._held_out is not None and (over or (every and step % every == 0)):
                    self._evaluate(log)
                if self._on_step is not None and self._processes.first:
                    self._on_step(Report(progress, self.steps, self.done))
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

    def _step(self) -> dict[str, float]:
        """Take an optimizer step; returns its row of the log."""
        began, progress, settings = time.monotonic(), self.progress, self._settings
        groups = self._draw()
        # The rate is that of the middle of the step, so that no step has a rate of 0.
        done = min(1.0, self.done + 0.5 / self.steps)
        rate = settings.learning_rate * set_rate(self._optimizer, settings, done)
        torch.manual_seed(hash((settings.seed, progress.step, self._processes.rank)))
        self._optimizer.zero_grad()
        losses = self._objective.backward(groups, distil=progress.step >= settings.distil_from)
        self._processes.average_gradients(self._network)
        trained = [p for p in self._network.parameters() if p.requires_grad]
        norm = float(torch.nn.utils.clip_grad_norm_(trained, settings.clip))
        count = self._processes.count
        sums = self._processes.total(
            {"queries": len(groups), "tokens": sum(group.tokens for group in groups)} | losses
        )
        losses = {name: sums[name] / count for name in losses}
        if not (math.isfinite(losses["loss"]) and math.isfinite(norm)):
            self._diverged(losses["loss"], norm)
        self._optimizer.step()
        progress.step += 1
        progress.queries += round(sums["queries"])
        progress.tokens += round(sums["tokens"])
        progress.losses = losses
        progress.seconds += self._processes.total({"s": time.monotonic() - began})["s"] / count
        return {
            "step": progress.step,
            "epoch": progress.step / self._per_epoch,
            "minutes": progress.seconds / 60,
            "queries": progress.queries,
            "tokens": progress.tokens,
            "learning_rate": rate,
            "gradient": norm,
            **losses,
        }

    def _draw(self) -> list[Tokenized]:
        epoch, step = divmod(self.progress.step, self._per_epoch)
        batch = (step * self._processes.count + self._processes.rank) % self._batches.per_epoch
        groups = self._batches.draw(epoch * self._batches.per_epoch + batch)
        tokenized = self._objective.tokenize(groups)
        self._warn_truncated(tokenized)
        return tokenized

    def _warn_truncated(self, groups: Sequence[Tokenized]) -> None:
        queries = sum(group.query.truncated for group in groups)
        passages = sum(passage.truncated for group in groups for passage in group.passages)
        if (queries or passages) and not self.progress.truncated:
            warnings.warn(
                f"In step {self.progress.step + 1}, {queries} of {len(groups)} queries were cut to "
                f"{self._settings.max_query_length} tokens and {passages} of their passages to "
                f"{self._settings.max_passage_length}. Raise `max_query_length` or "
                "`max_passage_length` to train on whole texts. Later cuts are only counted.",
                TruncationWarning,
                stacklevel=5,
            )
        self.progress.truncated += queries + passages

    def _evaluate(self, log: Log | None) -> None:
        if log is not None and self._held_out is not None:
            now = to_checkpoint(self._network, self._start)
            self.progress.scores = _held_out_scores(now, self._held_out, self._processes.device)
            log.scores({"step": self.progress.step, **self.progress.scores})
        self._processes.wait()

    def _save(self, *, model: bool = False) -> None:
        if self._processes.first:
            self._state.save(self._network, self._optimizer, self.progress)
            if model:
                checkpoints.write(to_checkpoint(self._network, self._start), self._to)
        self._processes.wait()

    def _diverged(self, loss: float, norm: float) -> None:
        self._save(model=True)
        raise TrainingError(
            f"The run diverged at step {self.progress.step + 1}: the loss is {loss}, the norm of "
            f"the gradient {norm}. {self._to} holds the model before this step. Train to another "
            f"folder with a `learning_rate` below {self._settings.learning_rate:g}."
        )


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
