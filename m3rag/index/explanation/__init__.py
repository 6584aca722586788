"""Why a passage was found: shares of the score, matched tokens, alignment, the best sentence."""

from m3rag.index.explanation.explaining import explain, explain_hit
from m3rag.index.explanation.parts import (
    Alignment,
    Channel,
    Explanation,
    MatchedToken,
    Occurrence,
    Sentence,
    Token,
)
from m3rag.index.explanation.tokens import tokens_of

__all__ = [
    "Alignment",
    "Channel",
    "Explanation",
    "MatchedToken",
    "Occurrence",
    "Sentence",
    "Token",
    "explain",
    "explain_hit",
    "tokens_of",
]
