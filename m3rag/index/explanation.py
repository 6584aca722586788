"""The names of `m3rag.explanation`, where 0.1 had them."""

from m3rag.extras import lazy

__getattr__ = lazy(
    __name__,
    {
        "Alignment": "m3rag.explanation",
        "Channel": "m3rag.explanation",
        "Explanation": "m3rag.explanation",
        "MatchedToken": "m3rag.explanation",
        "Occurrence": "m3rag.explanation",
        "Sentence": "m3rag.explanation",
        "Token": "m3rag.explanation",
        "explain": "m3rag.explanation",
        "tokens_of": "m3rag.explanation",
    },
)
