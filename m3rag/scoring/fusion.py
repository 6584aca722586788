"""One score from several: weights, weighted sum, reciprocal rank fusion, balancing groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from m3rag.errors import InputError

Floats = NDArray[np.float32]
Weights = str | Sequence[float] | Mapping[str, float]
Fusion = Literal["weighted", "rrf"]
FUSIONS: tuple[Fusion, ...] = get_args(Fusion)

SCORED = ("dense", "sparse", "colbert", "bm25")  # the order of a tuple of weights
LEXICAL = ("sparse", "bm25")  # a score of 0 here means: no token in common
RRF_K = 60.0

PRESETS: dict[str, dict[str, float]] = {
    "default": {"dense": 1.0, "sparse": 0.3, "colbert": 1.0, "bm25": 0.0},
    "long-document": {"dense": 0.15, "sparse": 0.5, "colbert": 0.35, "bm25": 0.0},
    "cross-lingual": {"dense": 1.0, "sparse": 0.1, "colbert": 1.0, "bm25": 0.0},
}
"""The paper's weights for MIRACL and MKQA ("default") and for MLDR ("long-document"); texts in
two languages share few tokens, so "cross-lingual" trusts sparse less."""


FEW = 5
"""A group of fewer has no mean and deviation to trust: its scores stay as they are."""


def named_weights(own: Mapping[str, Mapping[str, float]]) -> dict[str, Mapping[str, float]]:
    """Return all weights that have a name: `PRESETS`, overridden by those of a model."""
    return {**PRESETS, **own}


def parse_weights(
    weights: Weights, presets: Mapping[str, Mapping[str, float]] = PRESETS
) -> dict[str, float]:
    """A preset's name, three or four numbers, or a mapping, as one weight for each channel.

    Raises:
        InputError: an unknown preset or channel, a negative or non-finite weight, a wrong count.
    """
    if isinstance(weights, str):
        if weights not in presets:
            raise InputError(f"No weights are called {weights!r}; there are {_list(presets)}.")
        return dict(presets[weights])
    if isinstance(weights, Mapping):
        unknown = [name for name in weights if name not in SCORED]
        if unknown:
            raise InputError(f"No channel is called {unknown[0]!r}; there are {_list(SCORED)}.")
        given = {name: weights.get(name, 0.0) for name in SCORED}
    else:
        if len(weights) not in (3, 4):
            raise InputError(
                f"weights are 3 or 4 numbers ({', '.join(SCORED)}), got {len(weights)}: {weights!r}"
            )
        given = dict(zip(SCORED, (*weights, 0.0), strict=False))
    for name, weight in given.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float | np.number):
            raise InputError(f"The weight of {name} must be a number, got {weight!r}.")
        if not math.isfinite(weight) or weight < 0:
            raise InputError(f"The weight of {name} must be finite and at least 0, got {weight!r}.")
    return {name: float(weight) for name, weight in given.items()}


def weighted_sum(scores: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """The sum of `weights[c] * scores[c]` over the weights' sum, `(n,)`.

    Dividing by the weights' sum is FlagEmbedding's convention; it leaves the order alone and
    makes scores of different weights comparable. The weights' sum must be above zero.
    """
    total = sum(weights.values())
    parts = [np.asarray(scores[c], np.float64) * w for c, w in weights.items()]
    return np.asarray(np.sum(parts, axis=0) / total, np.float32)


def reciprocal_rank_fusion(
    scores: Mapping[str, Floats], weights: Mapping[str, float], *, k: float = RRF_K
) -> Floats:
    """The sum of `weights[c] / (k + rank_c)` over the channels, `(n,)`.

    A passage without a rank in a channel (see `ranks`) gets nothing from it.

    Source: Cormack, Clarke and Büttcher, SIGIR 2009, with a weight for each list.
    """
    fused = np.zeros(len(next(iter(scores.values()))), np.float64)
    for channel, weight in weights.items():
        fused += weight / (k + ranks(scores[channel], channel))
    return fused.astype(np.float32)


def balanced(scores: Floats, groups: NDArray[np.str_]) -> Floats:
    """Scores that have, within each group, the mean and deviation of the row as a whole.

    The order within a group stays. A group of fewer than `FEW` keeps its scores, and so does
    everything if there is one group only. A lexical score of 0 no longer says that nothing is
    shared: weigh the result, and do not fuse it by ranks.

    Args:
        scores: `(..., n)`; each row is balanced on its own.
        groups: `(n,)`, the name of each passage's group.
    """
    found = scores.copy()
    names, sizes = np.unique(groups, return_counts=True)
    if len(names) < 2:
        return found
    mean, deviation = _moments(scores)
    for name in names[sizes >= FEW]:
        part = scores[..., groups == name]
        own, spread = _moments(part)
        found[..., groups == name] = (part - own) / np.maximum(spread, 1e-6) * deviation + mean
    return found


def ranks(scores: Floats, channel: str) -> NDArray[np.float64]:
    """The rank of each passage in a channel, `(n,)`; inf: it has none.

    Ranks count from 1, the highest score first. Equal scores share the best rank among them
    (1, 2, 2, 4), so that the result does not depend on the order of the passages. A sparse or
    bm25 score of 0 says that no token is shared: such a passage has no rank, as if a search
    engine had not listed it.
    """
    column = np.asarray(scores, np.float32)
    better = len(column) - np.searchsorted(np.sort(column), column, side="right")
    found = np.asarray(1 + better, np.float64)
    if channel in LEXICAL:
        found[column <= 0] = np.inf
    return found


def _moments(scores: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation of each row, `(..., 1)`."""
    return scores.mean(axis=-1, keepdims=True), scores.std(axis=-1, keepdims=True)


def _list(names: Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
