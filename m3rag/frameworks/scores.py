"""Scores of search results as entries of metadata."""

from __future__ import annotations

from collections.abc import Mapping

from m3rag.errors import InputError
from m3rag.index.hit import Hit
from m3rag.limits import shown
from m3rag.scoring import SCORED

NAMED = (*SCORED, "cross_encoder")
"""The names of the scores of a result, beside the fused one."""

Scores = bool | str
"""True for scores in the metadata, a string for keys that begin with it, False for none."""


def check_scores(scores: object, name: str) -> None:
    """Check an argument of the type `Scores`.

    Args:
        scores: The argument.
        name: Its name, for the error.

    Raises:
        InputError: It is neither a boolean nor a string.
    """
    if not isinstance(scores, bool | str):
        raise InputError(
            f'`{name}` must be True, False or the beginning of the keys, such as "m3_", got '
            f"{shown(scores)}."
        )


def channel_scores(hit: Hit) -> dict[str, float]:
    """Return the scores of the channels that a search scored, and that of a cross-encoder."""
    scores = {name: getattr(hit, name) for name in NAMED}
    return {name: score for name, score in scores.items() if score is not None}


def score_entries(score: float, channels: Mapping[str, float], scores: Scores) -> dict[str, float]:
    """Return the entries of metadata for the scores of a result.

    Args:
        score: The fused score.
        channels: The score of each channel.
        scores: True gives "relevance_score", "dense_score" and so on; a string goes before each of
            these keys; False gives nothing.
    """
    if scores is False:
        return {}
    prefix = "" if scores is True else scores
    found = {"relevance": score, **channels}
    return {f"{prefix}{name}_score": float(value) for name, value in found.items()}
