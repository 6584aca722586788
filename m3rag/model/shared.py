"""Models that are loaded once per process and shared by all callers."""

from __future__ import annotations

import os
import threading
from functools import cache
from pathlib import Path
from typing import TypeVar

from m3rag.errors import ModelMismatchError
from m3rag.model.arguments import check_limit, check_name, check_revision
from m3rag.model.kernels.device import choose_device, choose_dtype
from m3rag.model.lookup import DEFAULT, ModelSpec
from m3rag.model.model import M3Model

M = TypeVar("M")

_lock = threading.Lock()


def shared_model(
    name_or_path: str | Path = DEFAULT,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    max_length: int | None = None,
) -> M3Model:
    """Return the process's model for these arguments; the first call loads it.

    A forked process loads its own model, since threads do not survive a fork. The arguments are
    those of `M3Model.load`.

    Raises:
        CheckpointError: The model does not exist, is incomplete or damaged, or is not BGE-M3.
        InputError: An argument is not valid here.
    """
    check_name(name_or_path)
    check_revision(revision)
    if max_length is not None:
        check_limit(max_length)
    # "auto" and what it stands for are the same model.
    where = choose_device(device)
    what = str(choose_dtype(dtype, where)).removeprefix("torch.")
    with _lock:
        return _loaded(os.getpid(), str(name_or_path), revision, str(where), what, max_length)


def model_of(model: M | ModelSpec | str | Path | None) -> M | M3Model:
    """Return a model as it is, or the shared model for a description or name; None means BGE-M3.

    Raises:
        ModelMismatchError: The described name refers to other weights in this process.
    """
    if model is None:
        return shared_model()
    if isinstance(model, str | Path):
        return shared_model(model)
    if isinstance(model, ModelSpec):
        return _from_spec(model)
    return model


def _from_spec(spec: ModelSpec) -> M3Model:
    model = shared_model(
        spec.name,
        revision=spec.revision,
        device=spec.device,
        dtype=spec.dtype,
        max_length=spec.max_length,
    )
    if spec.fingerprint not in (None, model.fingerprint):
        raise ModelMismatchError(
            f"{spec.name!r} has the fingerprint {model.fingerprint} here, and {spec.fingerprint} "
            "where it was described. Use a name that refers to the same weights in every process, "
            "and set the revision."
        )
    return model


@cache
def _loaded(
    pid: int, name: str, revision: str | None, device: str, dtype: str, max_length: int | None
) -> M3Model:
    return M3Model.load(name, revision=revision, device=device, dtype=dtype, max_length=max_length)


def _after_fork() -> None:
    """Replace the lock: the thread that held it may not exist in the child."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
