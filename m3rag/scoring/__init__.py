"""Pure functions on arrays: scores, fusion, BM25, matched tokens."""

from m3rag.scoring.balance import balanced
from m3rag.scoring.bm25 import BM25, Analyzer
from m3rag.scoring.fusion import (
    LEXICAL,
    PRESETS,
    SCORED,
    Weights,
    parse_weights,
    reciprocal_rank_fusion,
    weighted_sum,
)
from m3rag.scoring.inverted import InvertedLists
from m3rag.scoring.matches import Match, matched_tokens
from m3rag.scoring.scores import (
    Encoder,
    colbert_scores,
    compute_score,
    dense_scores,
    sparse_scores,
)

__all__ = [
    "BM25",
    "LEXICAL",
    "PRESETS",
    "SCORED",
    "Analyzer",
    "Encoder",
    "InvertedLists",
    "Match",
    "Weights",
    "balanced",
    "colbert_scores",
    "compute_score",
    "dense_scores",
    "matched_tokens",
    "parse_weights",
    "reciprocal_rank_fusion",
    "sparse_scores",
    "weighted_sum",
]
