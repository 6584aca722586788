"""The ranges of the settings of a training run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from m3rag.errors import InputError

_PAIR_TOKENS = 4  # `<s>`, `</s></s>` between the texts, and `</s>`

_OF_VIEWS = (
    *("temperature", "dense_weight", "sparse_weight", "colbert_weight", "ensemble_weight"),
    *("distil", "distil_weight", "distil_from", "symmetric", "centre_weight"),
    *("teacher_vectors_weight", "teacher_vectors_temperature"),
)
_MINIMUM = {
    "max_steps": 1,
    "batch": 1,
    "group_size": 1,
    "token_budget": 1,
    "same_source": 0,
    "same_language": 0,
    "source_power": 0,
    "max_query_length": 3,  # <s>, one token, </s>
    "max_passage_length": 3,
    "warm_up": 0,
    "weight_decay": 0,
    "distil_from": 0,
    "seed": 0,
    "save_every": 1,
    "evaluate_every": 1,
    "centre_weight": 0,
    "freeze_layers": 0,
    "average": 0,
}
_POSITIVE = (
    *("epochs", "minutes", "clip"),
    *("learning_rate", "embedding_learning_rate", "head_learning_rate"),
)
_SHARES = dict.fromkeys(("same_source", "same_language"), "the batches")
_SHARES |= {"warm_up": "the run", "average": "the previous average"}


def check_settings(settings: Any) -> None:
    """Check the numbers of settings, and that a cross-encoder has only settings of its own.

    Args:
        settings: A `TrainingSettings`, whose module imports this one.

    Raises:
        InputError: A value is out of range, or is for the three views only.
    """
    for name, minimum in _MINIMUM.items():
        value = getattr(settings, name)
        if value is not None and not (math.isfinite(value) and value >= minimum):
            raise InputError(f"`{name}` must be at least {minimum:g}, got {value}.")
    for name in _POSITIVE:
        value = getattr(settings, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"`{name}` must be above 0, got {value}.")
    for name, whole in _SHARES.items():
        if (value := getattr(settings, name)) > 1:
            raise InputError(f"`{name}` must be a share of {whole}, 0 to 1, got {value}.")
    if settings.cross_encoder:
        _check_cross_encoder(settings)


def _check_cross_encoder(settings: Any) -> None:
    for setting in fields(settings):
        value = getattr(settings, setting.name)
        if setting.name in _OF_VIEWS and value != setting.default:
            raise InputError(
                f"`{setting.name}` is a setting of the three views; a cross-encoder has one score. "
                f"Leave it at {setting.default!r}, got {value!r}."
            )
    if settings.max_passage_length <= _PAIR_TOKENS:
        raise InputError(
            f"`max_passage_length` must be above {_PAIR_TOKENS} for a cross-encoder: a pair has "
            f"{_PAIR_TOKENS} special tokens. Got {settings.max_passage_length}."
        )


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Check a setting with a few values.

    Raises:
        InputError: It has another value.
    """
    if value not in choices:
        raise InputError(f"`{name}` must be one of {', '.join(map(repr, choices))}, got {value!r}.")
