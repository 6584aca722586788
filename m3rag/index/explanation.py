"""The names of `m3rag.explanation`, where 0.1 had them."""

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
