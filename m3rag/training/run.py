"""A training run, from files of examples to a folder with a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch

from m3rag.errors import InputError
from m3rag.evaluation import read_set
from m3rag.model import checkpoint as checkpoints
from m3rag.model.checkpoint import Checkpoint
from m3rag.model.cross_checkpoint import read_cross_encoder, with_new_head
from m3rag.model.lookup import locate
from m3rag.model.packing import packed_words
from m3rag.model.parts import is_cross_encoder
from m3rag.training.examples import Examples
from m3rag.training.mix import Mix
from m3rag.training.processes import Processes
from m3rag.training.settings import TrainingSettings
from m3rag.training.state import TrainingProgress
from m3rag.training.task import Task
from m3rag.training.teacher import VectorFile, VectorTeacher, tasks_of
from m3rag.training.trainable import tied
from m3rag.training.trainer import OnStep, Trainer

_LENGTHS = ("max_query_length", "max_passage_length")


def train(
    data: str | Path | Iterable[str | Path | Task],
    to: str | Path,
    *,
    model: str | Path = "BAAI/bge-m3",
    settings: TrainingSettings | None = None,
    teacher_vectors: VectorTeacher | str | Path | None = None,
    evaluation: str | Path | None = None,
    device: str | torch.device = "auto",
    on_step: OnStep | None = None,
) -> TrainingProgress:
    """Train the three views of a model on examples, and write a BGE-M3 folder.

    With `settings.cross_encoder`, train a cross-encoder and write the folder of one, which
    `M3CrossEncoder`, transformers and FlagEmbedding load.

    If the run is stopped or killed, the same call resumes it from its last save.

    Args:
        data: Files of examples; see `m3rag.training.example`. Or tasks, each with files, a share of
            the steps and settings of its own.
        to: The folder for the model; its subfolder `training` holds the logs and the state.
        model: The model to start from: a hub id, a folder, "small" or "tiny"; for a cross-encoder,
            also another cross-encoder. The word table of a packed model, such as "small", does not
            learn; that of its `m3rag export` does.
        settings: How to train; the default settings fine-tune BGE-M3.
        teacher_vectors: Another embedding model to learn from, or a file of its vectors that
            `write_teacher_vectors` wrote. A model is called in another thread.
        evaluation: A held-out set, in any form that `m3rag.evaluation.read_set` accepts; not for a
            cross-encoder.
        device: "auto", or a device of `torch.device`; `accelerate launch` chooses its own.
        on_step: Called with a `Report` after each step, in the first process.

    Returns:
        The progress of the run, with the last losses and the held-out scores.

    Raises:
        InputError: The data or the settings cannot be used.
        CheckpointError: The model cannot be loaded.
        TrainingError: The loss is no longer finite, or `to` holds another run or other files.
        MissingExtraError: accelerate is not installed.
        KeyboardInterrupt: Ctrl-C was pressed; the state and the model have been saved.
    """
    processes = Processes(device)
    settings = settings or TrainingSettings()
    if settings.cross_encoder:
        _check_unused(teacher_vectors=teacher_vectors, evaluation=evaluation)
    held_out = None if evaluation is None else read_set(evaluation)
    mix = Mix(tasks_of(data), settings)
    start = tied(_start(locate(model), settings))
    if packed_words(start.encoder) is not None:  # 4-bit codes have no gradients
        settings = replace(settings, freeze=(*settings.freeze, "embeddings"))
    if settings.freeze_layers > (layers := start.config["num_hidden_layers"]):
        raise InputError(
            f"`freeze_layers` must be at most {layers} for this model, got "
            f"{settings.freeze_layers}."
        )
    for task, own, examples in zip(mix.tasks, mix.settings, mix.examples, strict=True):
        where = f"The task {task.name!r}: " if len(mix.tasks) > 1 else ""
        _check(examples, own, start, where)
    if isinstance(teacher_vectors, str | Path):
        teacher_vectors = VectorFile(teacher_vectors)
        for own, examples in zip(mix.settings, mix.examples, strict=True):
            if own.teacher_vectors_weight:
                teacher_vectors.check(examples, symmetric=own.symmetric)
    trainer = Trainer(
        mix,
        start,
        Path(to),
        settings,
        processes,
        teacher=teacher_vectors,
        held_out=held_out,
        on_step=on_step,
    )
    return trainer.run()


def _start(folder: Path, settings: TrainingSettings) -> Checkpoint:
    """Read the model to start from; an M3 model gets a new head to become a cross-encoder."""
    if not settings.cross_encoder:
        return checkpoints.read(folder)
    if is_cross_encoder(folder):
        return read_cross_encoder(folder)
    return with_new_head(checkpoints.read(folder), settings.seed)


def _check_unused(**arguments: object) -> None:
    """Check that arguments are None that are for the three views only."""
    for name, value in arguments.items():
        if value is not None:
            raise InputError(f"`{name}` is for the three views, not for a cross-encoder.")


def _check(examples: Examples, settings: TrainingSettings, start: Checkpoint, where: str) -> None:
    lengths = {name: getattr(settings, name) for name in _LENGTHS}
    if settings.cross_encoder:
        lengths = {" + ".join(_LENGTHS): sum(lengths.values())}
    for name, length in lengths.items():
        if length > start.max_length:
            raise InputError(
                f"{where}`{name}` must be at most {start.max_length:,} tokens for this model, got "
                f"{length:,}."
            )
    if settings.teacher != "none" and examples.scored.min() < settings.group_size:
        raise InputError(
            f"{where}`teacher={settings.teacher!r}` needs {settings.group_size} scored passages "
            f"per example (`group_size`), but example {examples.scored.argmin() + 1} has "
            f'{examples.scored.min()}. Add "pos_scores" and "neg_scores" with m3rag train mine '
            "--scores, or lower `group_size`."
        )
    if settings.group_size == 1 and (settings.batch == 1 or not settings.in_batch_negatives):
        raise InputError(
            f"{where}No passage would be a negative. Raise `batch` or `group_size`, or set "
            "`in_batch_negatives`."
        )
