"""Scores of passages of several kinds, made comparable: no kind is ahead for what it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from m3rag.scoring.fusion import Floats

FEW = 5
"""A group of fewer has no mean and deviation to trust: its scores stay as they are."""


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


def _moments(scores: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation of each row, `(..., 1)`."""
    return scores.mean(axis=-1, keepdims=True), scores.std(axis=-1, keepdims=True)
