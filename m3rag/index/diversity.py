"""Choose hits that are relevant and differ from each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m3rag.errors import InputError
from m3rag.index.hit import Hit
from m3rag.limits import check_count, shown
from m3rag.scoring.fusion import Floats


def diversify(
    hits: Sequence[Hit], vectors: Sequence[Floats | None], k: int, relevance: float
) -> list[Hit]:
    """Return up to `k` hits, each the best by maximal marginal relevance when it is chosen.

        relevance * score - (1 - relevance) * highest cosine with a hit chosen before

    Source: Carbonell and Goldstein, SIGIR 1998.

    Args:
        hits: The n hits, best first.
        vectors: Their dense vectors, `(dim,)`; hits without one are left out.
        k: The most hits to return.
        relevance: The share of the score, 0 to 1.

    Raises:
        InputError: `k` or `relevance` is out of range.
    """
    check_count("k", k)
    number = isinstance(relevance, int | float) and not isinstance(relevance, bool)
    if not number or not 0 <= relevance <= 1:
        raise InputError(f"`relevance` must be a number from 0 to 1, got {shown(relevance)}.")
    known = [(hit, v) for hit, v in zip(hits, vectors, strict=True) if v is not None]
    if not known:
        return []
    unit = np.stack([v / max(float(np.linalg.norm(v)), 1e-12) for _, v in known])  # (n, dim)
    worth = relevance * _scaled([hit for hit, _ in known])
    nearest = np.zeros(len(known))  # cosine with the nearest hit chosen so far
    chosen: list[int] = []
    while len(chosen) < min(k, len(known)):
        marginal = worth - (1 - relevance) * nearest
        marginal[chosen] = -np.inf
        best = int(marginal.argmax()) if chosen else int(worth.argmax())
        cosines = unit @ unit[best]
        nearest = np.maximum(nearest, cosines) if chosen else cosines
        chosen.append(best)
    return [known[i][0] for i in chosen]


def _scaled(hits: Sequence[Hit]) -> np.ndarray:
    """Return scores `(n,)` that compare with cosines: dense ones as they are, others 0 to 1."""
    scores = np.array([hit.score for hit in hits], np.float64)
    if all(hit.score == hit.dense for hit in hits):
        return scores
    spread = scores.max() - scores.min()
    return (scores - scores.min()) / spread if spread > 0 else np.ones(len(scores))
