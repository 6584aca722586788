"""Scores of search results in the metadata of documents."""

from __future__ import annotations

from collections.abc import Mapping

from langchain_core.documents import Document

from m3rag.frameworks import Scores, channel_scores, score_entries
from m3rag.frameworks.scores import NAMED
from m3rag.index.hit import Hit
from m3rag.langchain.documents import to_document
from m3rag.langchain.metadata import ScoredMetadata


def scored_document(hit: Hit, scores: Scores = True) -> Document:
    """Return the document of a hit, with its scores; see `with_scores`."""
    return with_scores(to_document(hit.passage), hit.score, channel_scores(hit), scores)


def with_scores(
    document: Document, score: float, channels: Mapping[str, float], scores: Scores = True
) -> Document:
    """Return a copy of a document with scores in its metadata, or itself without them.

    Args:
        document: The document.
        score: The fused score.
        channels: The score of each channel.
        scores: True adds "relevance_score", "dense_score" and so on to the metadata; a string
            goes before each of these keys; False adds nothing.
    """
    if scores is False:
        return document
    found = score_entries(score, channels, scores)
    return document.model_copy(update={"metadata": ScoredMetadata(document.metadata, found)})


def scores_of(document: Document, prefix: str = "") -> dict[str, float]:
    """Return the scores of a result, by channel and "cross_encoder"; empty if it has none.

    Args:
        document: A result of a retriever or a reranker.
        prefix: The string that its `scores` puts before each key.
    """
    keys = {name: f"{prefix}{name}_score" for name in NAMED}
    return {name: document.metadata[key] for name, key in keys.items() if key in document.metadata}
