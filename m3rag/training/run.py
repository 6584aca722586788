"""A training run, from files to a BGE-M3 folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from m3rag.errors import InputError
from m3rag.evaluation import read_set
from m3rag.model import checkpoint as checkpoints
from m3rag.model.checkpoint import Checkpoint
from m3rag.model.lookup import locate
from m3rag.training.examples import Examples
from m3rag.training.processes import Processes
from m3rag.training.settings import TrainingSettings
from m3rag.training.state import TrainingProgress
from m3rag.training.trainer import OnStep, Trainer


def train(
    data: str | Path | Iterable[str | Path],
    to: str | Path,
    *,
    model: str | Path = "BAAI/bge-m3",
    settings: TrainingSettings | None = None,
    evaluation: str | Path | None = None,
    device: str | torch.device = "auto",
    on_step: OnStep | None = None,
) -> TrainingProgress:
    """Train a model's three views on examples, and write it as a BGE-M3 folder.

    A run that was stopped or killed goes on from its last save when it is called again.

    Args:
        data: Files of examples: see `m3rag.training.example`.
        to: The folder for the model; its subfolder `training` holds the logs and the state.
        model: What to start from: a hub id, a folder, or "tiny".
        settings: How to train; by default BGE-M3 is fine-tuned.
        evaluation: A held-out set, as `m3rag.evaluation.read_set` takes it.
        device: "auto" or one that `torch.device` takes; `accelerate launch` has its own.
        on_step: Called with a `Report` after each step, in the first process.

    Returns:
        How far it went, with the last losses and the held-out scores.

    Raises:
        InputError: Data or settings that cannot be used.
        CheckpointError: No such model.
        TrainingError: The loss is not finite any more, or `to` holds something else.
        MissingExtraError: accelerate is not installed.
        KeyboardInterrupt: Ctrl-C; state and model are saved before.
    """
    processes = Processes(device)
    settings = settings or TrainingSettings()
    held_out = None if evaluation is None else read_set(evaluation)
    examples = Examples([data] if isinstance(data, str | Path) else data)
    start = checkpoints.read(locate(model))
    _check(examples, settings, start)
    trainer = Trainer(examples, start, Path(to), settings, processes, held_out, on_step)
    return trainer.run()


def _check(examples: Examples, settings: TrainingSettings, start: Checkpoint) -> None:
    for name in ("max_query_length", "max_passage_length"):
        if getattr(settings, name) > start.max_length:
            raise InputError(
                f"{name}={getattr(settings, name):,}: this model takes {start.max_length:,} tokens."
            )
    if settings.teacher != "none" and examples.scored.min() < settings.group_size:
        raise InputError(
            f"teacher={settings.teacher!r} needs {settings.group_size} scored passages an example "
            f"(group_size), example {examples.scored.argmin() + 1} has {examples.scored.min()}. "
            'Add "pos_scores" and "neg_scores" with m3rag train mine --scores, or lower group_size.'
        )
    if settings.group_size == 1 and (settings.batch == 1 or not settings.in_batch_negatives):
        raise InputError(
            "Nothing would be a negative: raise batch or group_size, or allow in_batch_negatives."
        )
