"""One model a process: whoever names no model object gets the same one."""

from __future__ import annotations

import os
import threading
from functools import cache
from pathlib import Path
from typing import TypeVar

from m3rag.model.model import DEFAULT, M3Model

M = TypeVar("M")

_door = threading.Lock()


def shared_model(
    name_or_path: str | Path = DEFAULT,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    max_length: int | None = None,
) -> M3Model:
    """`M3Model.load`, once a process for the same arguments.

    A forked process loads its own: a model's thread does not survive a fork.
    """
    with _door:
        return _loaded(os.getpid(), str(name_or_path), revision, device, dtype, max_length)


def model_of(model: M | str | Path | None) -> M | M3Model:
    """The model itself, the process's shared one of that name, or the shared default."""
    if model is None:
        return shared_model()
    return shared_model(model) if isinstance(model, str | Path) else model


@cache
def _loaded(
    pid: int, name: str, revision: str | None, device: str, dtype: str, max_length: int | None
) -> M3Model:
    return M3Model.load(name, revision=revision, device=device, dtype=dtype, max_length=max_length)


def _after_fork() -> None:
    """The lock may have been held by a thread that does not exist here."""
    global _door
    _door = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
