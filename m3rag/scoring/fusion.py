"""Combine scores: weights, weighted sum, reciprocal rank fusion, balancing of groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from m3rag.errors import InputError
from m3rag.limits import shown

Floats = NDArray[np.float32]
Weights = str | Sequence[float] | Mapping[str, float]
Fusion = Literal["weighted", "rrf"]
FUSIONS: tuple[Fusion, ...] = get_args(Fusion)

SCORED = ("dense", "sparse", "colbert", "bm25")  # the order of a tuple of weights
LEXICAL = ("sparse", "bm25")  # here a score of 0 means that no token is shared
RRF_K = 60.0

PRESETS: dict[str, dict[str, float]] = {
    "default": {"dense": 1.0, "sparse": 0.3, "colbert": 1.0, "bm25": 0.0},
    "long-document": {"dense": 0.15, "sparse": 0.5, "colbert": 0.35, "bm25": 0.0},
    "cross-lingual": {"dense": 1.0, "sparse": 0.1, "colbert": 1.0, "bm25": 0.0},
}
"""The BGE-M3 paper's weights for MIRACL and MKQA ("default") and for MLDR ("long-document"), and
weights for queries and passages in different languages ("cross-lingual"), which share few tokens,
so sparse counts less."""

NO_COLBERT = "no-colbert"
"""The name of the preset for searches without ColBERT: what a model's other presets give dense and
sparse beside ColBERT need not suit the two alone. A model may have none."""

_LARGEST_WEIGHT, _SMALLEST_WEIGHT = 1e9, 1e-9  # float32 scores keep their digits in between

FEW = 5
"""The smallest group that is balanced; mean and deviation of fewer scores are not reliable."""


def named_weights(presets: Mapping[str, Mapping[str, float]]) -> dict[str, Mapping[str, float]]:
    """Return all named weights: `PRESETS`, overridden by those of a model."""
    return {**PRESETS, **presets}


def parse_weights(
    weights: Weights,
    presets: Mapping[str, Mapping[str, float]] = PRESETS,
    channels: Sequence[str] = SCORED,
) -> dict[str, float]:
    """Return one weight for each channel.

    Args:
        weights: The name of a preset, three or four numbers (dense, sparse, colbert, bm25), or a
            mapping of channels.
        presets: The weights of each preset.
        channels: The channels that can be scored. Without colbert, the preset "no-colbert", if
            there is one, replaces a preset that needs it.

    Raises:
        InputError: A preset or channel is unknown, a weight is negative, not finite or above 1e9,
            all are below 1e-9 but not zero, or there are not three or four numbers.
    """
    if isinstance(weights, str):
        if weights not in presets:
            raise InputError(f"Unknown weights {shown(weights)}. The presets are {_list(presets)}.")
        if presets[weights].get("colbert") and "colbert" not in channels:
            weights = NO_COLBERT if NO_COLBERT in presets else weights
        return dict(presets[weights])
    if isinstance(weights, Mapping):
        unknown = [name for name in weights if not isinstance(name, str) or name not in SCORED]
        if unknown:
            raise InputError(
                f"Unknown channel {shown(unknown[0])}. The channels are {_list(SCORED)}."
            )
        given = {name: weights.get(name, 0.0) for name in SCORED}
    else:
        if not isinstance(weights, Sequence | np.ndarray):
            raise InputError(
                f"`weights` must be a preset, 3 or 4 numbers, or a mapping, got {shown(weights)}."
            )
        if len(weights) not in (3, 4):
            raise InputError(
                f"`weights` must be 3 or 4 numbers ({', '.join(SCORED)}), got {len(weights)}: "
                f"{shown(weights)}."
            )
        given = dict(zip(SCORED, (*weights, 0.0), strict=False))
    checked = {name: _checked_weight(name, weight) for name, weight in given.items()}
    largest = max(checked.values())
    if 0 < largest < _SMALLEST_WEIGHT:
        raise InputError(
            f"The largest weight is {largest:.3g}, and the limit is {_SMALLEST_WEIGHT:g}. Only the "
            "ratio of the weights counts: multiply them, so that they are about 1."
        )
    return checked


def _checked_weight(name: str, weight: object) -> float:
    if isinstance(weight, bool) or not isinstance(weight, int | float | np.integer | np.floating):
        raise InputError(f"The weight of {name} must be a number, got {shown(weight)}.")
    if not 0 <= weight < math.inf:
        raise InputError(
            f"The weight of {name} must be finite and at least 0, got {shown(weight)}."
        )
    if weight > _LARGEST_WEIGHT:
        raise InputError(
            f"The weight of {name} must be at most {_LARGEST_WEIGHT:g}, got {shown(weight)}. Only "
            "the ratio of the weights counts: divide them, so that they are about 1."
        )
    return float(weight)


def weighted_sum(scores: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """Return the sum of `weights[c] * scores[c]` divided by the sum of the weights, `(n,)`.

    Dividing by the sum of the weights, which must be above zero, is FlagEmbedding's convention. It
    does not change the order, and makes scores of different weights comparable.
    """
    total = sum(weights.values())
    parts = [np.asarray(scores[c], np.float64) * w for c, w in weights.items()]
    return np.asarray(np.sum(parts, axis=0) / total, np.float32)


def reciprocal_rank_fusion(
    scores: Mapping[str, Floats], weights: Mapping[str, float], *, k: float = RRF_K
) -> Floats:
    """Return the sum of `weights[c] / (k + rank_c)` over the channels, `(n,)`.

    A channel adds nothing to a passage that has no rank in it (see `ranks`).

    Source: Cormack, Clarke and Büttcher, SIGIR 2009, with a weight for each list.
    """
    fused = np.zeros(len(next(iter(scores.values()))), np.float64)
    for channel, weight in weights.items():
        fused += weight / (k + ranks(scores[channel], channel))
    return fused.astype(np.float32)


def balanced(scores: Floats, groups: NDArray[np.str_] | NDArray[np.int64]) -> Floats:
    """Shift and scale the scores of each group to the mean and deviation of the whole row.

    The order within a group stays. A group of fewer than `FEW` passages keeps its scores, and so
    do all passages if there is only one group. In the result, a lexical score of 0 no longer means
    that no token is shared: combine it by a weighted sum, not by ranks.

    Args:
        scores: The scores `(..., n)`; each row is balanced on its own.
        groups: The group of each passage, `(n,)`.

    Returns:
        The balanced scores, `(..., n)`.
    """
    found = scores.copy()
    names, sizes = np.unique(groups, return_counts=True)
    if len(names) < 2:
        return found
    mean, deviation = _moments(scores)
    for name in names[sizes >= FEW]:
        part = scores[..., groups == name]
        group_mean, group_deviation = _moments(part)
        standard = (part - group_mean) / np.maximum(group_deviation, 1e-6)
        found[..., groups == name] = standard * deviation + mean
    return found


def ranks(scores: Floats, channel: str) -> NDArray[np.float64]:
    """Return the rank of each passage in a channel, `(n,)`; inf if it has none.

    Ranks count from 1, the highest score first. Equal scores share their best rank (1, 2, 2, 4), so
    the result does not depend on the order of the passages. A sparse or bm25 score of 0 means that
    no token is shared: such a passage has no rank, as if a search engine had not returned it.
    """
    column = np.asarray(scores, np.float32)
    better = len(column) - np.searchsorted(np.sort(column), column, side="right")
    found = np.asarray(1 + better, np.float64)
    if channel in LEXICAL:
        found[column <= 0] = np.inf
    return found


def _moments(scores: Floats) -> tuple[Floats, Floats]:
    """Return the mean and standard deviation of each row, `(..., 1)`."""
    return scores.mean(axis=-1, keepdims=True), scores.std(axis=-1, keepdims=True)


def _list(names: Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
