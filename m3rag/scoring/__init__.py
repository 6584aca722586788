"""Scores, fusion, BM25 and matched tokens: functions of arrays and texts, without an index."""

from m3rag.encoder import Encoder
from m3rag.scoring.bm25 import BM25, Analyzer
from m3rag.scoring.fusion import (
    FUSIONS,
    LEXICAL,
    PRESETS,
    SCORED,
    Fusion,
    Weights,
    balanced,
    named_weights,
    parse_weights,
    reciprocal_rank_fusion,
    weighted_sum,
)
from m3rag.scoring.inverted import InvertedLists
from m3rag.scoring.scores import (
    Match,
    colbert_scores,
    compute_score,
    dense_scores,
    matched_tokens,
    sparse_scores,
)
from m3rag.scoring.texts import score_texts

__all__ = [
    "BM25",
    "FUSIONS",
    "LEXICAL",
    "PRESETS",
    "SCORED",
    "Analyzer",
    "Encoder",
    "Fusion",
    "InvertedLists",
    "Match",
    "Weights",
    "balanced",
    "colbert_scores",
    "compute_score",
    "dense_scores",
    "matched_tokens",
    "named_weights",
    "parse_weights",
    "reciprocal_rank_fusion",
    "score_texts",
    "sparse_scores",
    "weighted_sum",
]
