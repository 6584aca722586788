"""Old import path of the names in `m3rag.explanation`, kept for code written for 0.1."""

from m3rag.explanation import (
    Alignment,
    Channel,
    Explanation,
    MatchedToken,
    Occurrence,
    Sentence,
    Token,
    explain,
    tokens_of,
)

__all__ = [
    "Alignment",
    "Channel",
    "Explanation",
    "MatchedToken",
    "Occurrence",
    "Sentence",
    "Token",
    "explain",
    "tokens_of",
]
