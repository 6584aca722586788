"""Models that are loaded once per process and shared by all callers."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

from m3rag.errors import InputError, ModelMismatchError
from m3rag.limits import shown
from m3rag.model.arguments import check_limit, check_name, check_revision
from m3rag.model.cross_encoder import M3CrossEncoder
from m3rag.model.kernels.device import choose_device, choose_dtype
from m3rag.model.lookup import DEFAULT, DEFAULT_RERANKER, ModelSpec
from m3rag.model.model import M3Model

M = TypeVar("M")
L = TypeVar("L", M3Model, M3CrossEncoder)

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
    return _shared(M3Model, name_or_path, revision, device, dtype, max_length)


def shared_cross_encoder(
    name_or_path: str | Path = DEFAULT_RERANKER,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    max_length: int | None = None,
) -> M3CrossEncoder:
    """Return the process's cross-encoder for these arguments; the first call loads it.

    The arguments are those of `M3CrossEncoder.load`.

    Raises:
        CheckpointError: The model does not exist, is incomplete or damaged, or is no cross-encoder.
        InputError: An argument is not valid here.
    """
    return _shared(M3CrossEncoder, name_or_path, revision, device, dtype, max_length)


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
        return _from_spec(M3Model, model)
    return model


def cross_encoder_of(given: M3CrossEncoder | ModelSpec | str | Path | None) -> M3CrossEncoder:
    """Return a cross-encoder, or the shared one for a description or name.

    None means BAAI/bge-reranker-v2-m3.

    Raises:
        InputError: It is something else.
        ModelMismatchError: The described name refers to other weights in this process.
    """
    if given is None:
        return shared_cross_encoder()
    if isinstance(given, M3CrossEncoder):
        return given
    if isinstance(given, ModelSpec):
        return _from_spec(M3CrossEncoder, given)
    if isinstance(given, str | Path):
        return shared_cross_encoder(given)
    raise InputError(
        f"`cross_encoder` must be an M3CrossEncoder, or the name or folder of one, got "
        f"{shown(given)}."
    )


def _from_spec(kind: type[L], spec: ModelSpec) -> L:
    model = _shared(kind, spec.name, spec.revision, spec.device, spec.dtype, spec.max_length)
    if spec.fingerprint not in (None, model.fingerprint):
        raise ModelMismatchError(
            f"{spec.name!r} has the fingerprint {model.fingerprint} here, and {spec.fingerprint} "
            "where it was described. Use a name that refers to the same weights in every process, "
            "and set the revision."
        )
    return model


def _shared(
    kind: type[L],
    name: str | Path,
    revision: str | None,
    device: str,
    dtype: str,
    max_length: int | None,
) -> L:
    check_name(name)
    check_revision(revision)
    if max_length is not None:
        check_limit(max_length)
    # "auto" and what it stands for are the same model.
    where = choose_device(device)
    what = str(choose_dtype(dtype, where)).removeprefix("torch.")
    with _lock:
        model = _loaded(kind.load, os.getpid(), str(name), revision, str(where), what, max_length)
    return cast("L", model)


@cache
def _loaded(
    load: Callable[..., M3Model | M3CrossEncoder],
    pid: int,
    name: str,
    revision: str | None,
    device: str,
    dtype: str,
    max_length: int | None,
) -> M3Model | M3CrossEncoder:
    return load(name, revision=revision, device=device, dtype=dtype, max_length=max_length)


def _after_fork() -> None:
    """Replace the lock: the thread that held it may not exist in the child."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
