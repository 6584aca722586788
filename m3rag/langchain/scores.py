"""Scores of search results in the metadata of documents."""

from __future__ import annotations

from collections.abc import Mapping

from langchain_core.documents import Document

from m3rag.errors import InputError
from m3rag.index.hit import Hit
from m3rag.langchain.documents import to_document
from m3rag.langchain.metadata import ScoredMetadata
from m3rag.limits import shown
from m3rag.scoring import SCORED

Scores = bool | str
"""True for scores in the metadata, a string for keys that begin with it, False for none."""


def check_scores(scores: object) -> None:
    """Check the argument `scores` of a retriever.

    Raises:
        InputError: It is neither a boolean nor a string.
    """
    if not isinstance(scores, bool | str):
        raise InputError(
            '`scores` must be True, False or the beginning of the keys, such as "m3_", got '
            f"{shown(scores)}."
        )


def scored_document(hit: Hit, scores: Scores = True) -> Document:
    """Return the document of a hit, with its scores.

    Args:
        hit: The hit.
        scores: True adds "relevance_score", "dense_score" and so on to the metadata; a string
            goes before each of these keys; False adds nothing.
    """
    document = to_document(hit.passage)
    if scores is False:
        return document
    channels = {channel: getattr(hit, channel) for channel in SCORED}
    return with_scores(document, hit.score, channels, "" if scores is True else scores)


def with_scores(
    document: Document, score: float, channels: Mapping[str, float | None], prefix: str = ""
) -> Document:
    """Return a copy of a document with scores in its metadata."""
    found = {f"{prefix}relevance_score": float(score)}
    found |= {f"{prefix}{c}_score": float(s) for c, s in channels.items() if s is not None}
    return document.model_copy(update={"metadata": ScoredMetadata(document.metadata, found)})


def scores_of(document: Document, prefix: str = "") -> dict[str, float]:
    """Return the score of each channel of a search result; empty if it has none.

    Args:
        document: A result of a retriever or a reranker.
        prefix: The string that its `scores` puts before each key.
    """
    keys = {channel: f"{prefix}{channel}_score" for channel in SCORED}
    return {c: document.metadata[key] for c, key in keys.items() if key in document.metadata}
