"""Explain why a passage matches a query: channel shares, tokens, alignment, best sentence."""

from m3rag.explanation.explainer import channel_shares, explain, explain_fused, tokens_of
from m3rag.explanation.explanation import Explanation, page
from m3rag.explanation.parts import (
    Alignment,
    Channel,
    MatchedToken,
    Occurrence,
    Sentence,
    Token,
)

__all__ = [
    "Alignment",
    "Channel",
    "Explanation",
    "MatchedToken",
    "Occurrence",
    "Sentence",
    "Token",
    "channel_shares",
    "explain",
    "explain_fused",
    "page",
    "tokens_of",
]
