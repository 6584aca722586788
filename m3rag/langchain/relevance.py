"""Relevance from 0 to 1, on which LangChain's score thresholds work."""

from __future__ import annotations

from m3rag.index.query import ScoringPlan


def relevance(score: float, plan: ScoringPlan, calibrated: float | None = None) -> float:
    """Return the relevance of a score, from 0 to 1; a higher score has no lower relevance.

        weighted          the score itself, at least 0 and at most 1; unrelated passages get about 0
                          from "small" by dense scores, and .5 to .6 with ColBERT: calibrate them
        with bm25         score / (1 + score), because the scores of BM25 have no limit
        rrf               the share of the highest possible score: 1 for a passage that is first in
                          all channels
        calibrated        .5 at the calibrated score, and linear below and above it

    Args:
        score: The fused score.
        plan: The weights and the fusion of the search.
        calibrated: The score from which a passage answers a question, as `m3rag tune` found it.
    """
    if plan.fusion == "rrf":
        value = score * (plan.rrf_k + 1) / sum(plan.weights.values())
    elif "bm25" in plan.weights:
        value = score / (1 + score) if score > 0 else 0.0
    elif calibrated is not None and 0 < calibrated < 1:
        above = score >= calibrated
        value = (
            0.5 + 0.5 * (score - calibrated) / (1 - calibrated)
            if above
            else 0.5 * score / calibrated
        )
    else:
        value = score
    return min(1.0, max(0.0, value))
