"""The model that a class of a framework is given; the import loads neither torch nor a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from m3rag.encoder import Model
from m3rag.errors import InputError
from m3rag.limits import shown
from m3rag.model.arguments import check_limit
from m3rag.model.lookup import ModelSpec

ModelLike = Model | ModelSpec | str | Path | None
"""A model, its description or name; None for that of an existing index, or BAAI/bge-m3."""


def model_of(model: ModelLike) -> Model:
    """Return a model as it is, or the process's shared model of a name; None means BGE-M3.

    Raises:
        InputError: It is something else, such as the embeddings of a framework.
        CheckpointError: There is no such model.
    """
    check_model(model)
    from m3rag.model import shared  # imports torch

    found: Model = shared.model_of(model)
    return found


def check_model(model: object) -> None:
    """Check that an argument is a model, a name or None.

    Raises:
        InputError: It is something else, such as the embeddings of a framework.
    """
    if model is None or isinstance(model, str | Path | ModelSpec) or _is_model(model):
        return
    held: Any = getattr(model, "model", None)
    advice = " Pass its model: model=….model." if _is_model(held) else ""
    raise InputError(
        '`model` must be a model, or a name such as "small" or "BAAI/bge-m3", got '
        f"{shown(model)}.{advice}"
    )


def checked_length(max_length: int | None) -> int | None:
    """Return the most tokens of a text after checking them.

    Raises:
        InputError: It is no integer, or too small.
    """
    if max_length is not None:
        check_limit(max_length)
    return max_length


def _is_model(value: object) -> bool:
    """Return whether a value has what tells a model from embeddings and indexes."""
    return not isinstance(value, type) and all(
        hasattr(value, name) for name in ("encode", "fingerprint", "tokenizer")
    )
