"""Choose hits that are relevant and differ from each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from m3rag.errors import InputError
from m3rag.index.hit import Hit
from m3rag.limits import check_count, is_number, shown
from m3rag.scoring.fusion import Floats


def diversify(
    hits: Sequence[Hit], vectors: Sequence[Floats | None], k: int, relevance: float
) -> list[Hit]:
    """Return up to `k` hits, each the best by maximal marginal relevance (`mmr`) when it is chosen.

    Args:
        hits: The n hits, best first.
        vectors: Their dense vectors, `(dim,)`; hits without one are left out.
        k: The most hits to return.
        relevance: The share of the score, 0 to 1.

    Raises:
        InputError: `k` or `relevance` is out of range.
    """
    check_count("k", k)
    if not is_number(relevance) or not 0 <= relevance <= 1:
        raise InputError(f"`relevance` must be a number from 0 to 1, got {shown(relevance)}.")
    known = [(hit, v) for hit, v in zip(hits, vectors, strict=True) if v is not None]
    if not known:
        return []
    unit = np.stack([v / max(float(np.linalg.norm(v)), 1e-12) for _, v in known])  # (n, dim)
    chosen = mmr(_scaled([hit for hit, _ in known]), unit, k, relevance)
    return [known[row][0] for row, _ in chosen]


def mmr(
    scores: NDArray[np.floating], vectors: NDArray[np.float32], k: int, relevance: float
) -> list[tuple[int, float]]:
    """Choose passages by maximal marginal relevance, one after the other.

        marginal(p) = relevance * score(p) - (1 - relevance) * max over the chosen c of <c, p>

    Source: Carbonell and Goldstein, SIGIR 1998.

    Args:
        scores: The score of each passage, `(n,)`.
        vectors: Their vectors `(n, d)`, of unit length.
        k: The most passages to choose.
        relevance: 1 counts only the scores, 0 only dissimilarity to chosen passages.

    Returns:
        The rows of the chosen passages and their marginal relevance, in the order they are chosen.
    """
    worth = relevance * scores
    nearest = np.zeros(len(vectors), np.float32)  # similarity to the nearest chosen passage
    left = np.ones(len(vectors), bool)
    chosen: list[tuple[int, float]] = []
    for _ in range(min(k, len(vectors))):
        marginal = np.where(left, worth - (1 - relevance) * nearest, -np.inf)
        best = int(marginal.argmax())
        overlap = vectors @ vectors[best]
        nearest = np.maximum(nearest, overlap) if chosen else overlap
        chosen.append((best, float(marginal[best])))
        left[best] = False
    return chosen


def _scaled(hits: Sequence[Hit]) -> np.ndarray:
    """Return scores `(n,)` that compare with cosines: dense ones as they are, others 0 to 1."""
    scores = np.array([hit.score for hit in hits], np.float64)
    if all(hit.score == hit.dense for hit in hits):
        return scores
    spread = scores.max() - scores.min()
    return (scores - scores.min()) / spread if spread > 0 else np.ones(len(scores))
