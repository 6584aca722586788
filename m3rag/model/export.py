"""Write a model to a new folder, completely or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from m3rag.errors import CheckpointError, InputError, M3Error
from m3rag.files import flush_folder
from m3rag.model import checkpoint as checkpoints
from m3rag.model.checkpoint import Checkpoint
from m3rag.model.lookup import locate
from m3rag.model.modelfiles import clipped, exists, read_bytes, system_error

_TEXTS = ("README.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE")
_TEXT_BYTES = 4 << 20


def export_model(
    name_or_path: str | Path,
    folder: str | Path,
    *,
    revision: str | None = None,
    packed: bool = False,
) -> Path:
    """Write a model to a new folder, as `M3Model.save` does, and return the folder.

    The model is read and checked, but no network is built.

    Args:
        name_or_path: A hub id, a local folder, or the name of a bundled or installed model.
        folder: The new folder.
        revision: A branch, tag or commit on the hub.
        packed: Write it packed, for m3rag only.

    Raises:
        CheckpointError: The model is missing or damaged, cannot be packed, or cannot be written.
        InputError: The folder exists and is not empty.
    """
    target = check_target(folder)
    source = locate(name_or_path, revision=revision)
    save(checkpoints.read(source), target, texts_from=source, packed=packed)
    return target


def save_source(
    source: Checkpoint | Path,
    read: Callable[[Path], Checkpoint],
    fingerprint: str,
    folder: str | Path,
    *,
    packed: bool,
) -> None:
    """Write a model to a new folder, from the checkpoint in memory or the folder it came from.

    Args:
        source: The checkpoint, or a model folder.
        read: Reads the checkpoint of such a folder.
        fingerprint: The fingerprint that the weights must have.
        folder: The new folder.
        packed: Write it packed, for m3rag only.

    Raises:
        CheckpointError: The weights are others now, or cannot be read, packed or written.
        InputError: The folder exists and is not empty.
    """
    target = check_target(folder)
    checkpoint = source if isinstance(source, Checkpoint) else read(source)
    if (found := checkpoint.fingerprint()) != fingerprint:
        raise CheckpointError(
            f"{source} has the fingerprint {found}, and had {fingerprint} when the model was "
            "loaded: its files have changed. Load the model again."
        )
    texts_from = source if isinstance(source, Path) else None
    save(checkpoint, target, texts_from=texts_from, packed=packed)


def check_target(folder: str | Path) -> Path:
    """Return the path of a folder that is new or empty.

    Raises:
        InputError: It is something else.
    """
    if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
        raise InputError(f"The folder must be a path, got {type(folder).__name__}. Pass a path.")
    path = Path(folder).expanduser().absolute()
    try:
        taken = any(path.iterdir()) if path.is_dir() else os.path.lexists(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be used ({clipped(error)}). Choose a new folder."
        ) from error
    if taken:
        kind = "is not empty" if path.is_dir() else "is not a folder"
        raise InputError(f"{path} exists and {kind}. Choose a new folder.")
    return path


def save(
    checkpoint: Checkpoint, target: Path, *, texts_from: Path | None = None, packed: bool = False
) -> None:
    """Write a checkpoint to a folder that is new or empty.

    The folder gets its name when it is complete and on the disk. Until then it is a sibling, which
    is removed if anything fails, Ctrl-C included.

    Args:
        checkpoint: What to write, converted to float16.
        target: The folder.
        texts_from: The folder from which licence and model card are copied, if it has them.
        packed: Write it packed.

    Raises:
        CheckpointError: It cannot be packed or written, or a number is too large for float16.
    """
    checkpoint = checkpoint.in_float16()
    new = target.with_name(f".{target.name[:40]}.{os.getpid()}-{secrets.token_hex(4)}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        checkpoints.write(checkpoint, new, packed=packed)
        if texts_from is not None:
            _copy_texts(texts_from, new)
        _flush(new)
        if target.exists():
            target.rmdir()  # empty, as checked; Windows does not replace a folder
        new.rename(target)
        flush_folder(target.parent)
    except M3Error:
        raise
    except Exception as error:  # those of safetensors and torch are plain RuntimeErrors
        raise system_error(target, error, "written") or CheckpointError(
            f"{target} cannot be written ({type(error).__name__}: {clipped(error)})."
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _copy_texts(source: Path, to: Path) -> None:
    for name in _TEXTS:
        if exists(source / name):
            (to / name).write_bytes(read_bytes(source / name, _TEXT_BYTES))


def _flush(folder: Path) -> None:
    """Flush all files of a folder to the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        else:
            flush_folder(path)
    flush_folder(folder)
