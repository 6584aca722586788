"""Score texts against a query without an index, by encoding both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from m3rag.encoder import Encoder, Model
from m3rag.encoding import Encoding
from m3rag.errors import InputError
from m3rag.limits import DEFAULT_LIMITS, Limits, check_text, shown
from m3rag.scoring.fusion import Floats, Weights, named_weights, parse_weights, weighted_sum
from m3rag.scoring.scores import colbert_scores, dense_scores, sparse_scores

_BATCH = 64  # texts whose ColBERT vectors are in memory at a time


def score_texts(
    model: Model, query: str, texts: Sequence[str], weights: Weights = "default"
) -> tuple[Floats, dict[str, Floats]]:
    """Score texts against a query on every channel that has a weight.

    Args:
        model: Encodes the query and the texts.
        query: The query, encoded without a prefix.
        texts: The n texts.
        weights: As for `M3Index.search`, without bm25, which needs an index.

    Returns:
        The weighted sum divided by the sum of the weights, `(n,)`, and the scores of each channel,
        `(n,)`.

    Raises:
        InputError: The query is empty, `texts` is a single string, no channel has a weight, or
            bm25 has one.
    """
    counted = text_weights(weights, model.presets)
    check_query(query)
    check_texts(texts)
    columns = channel_scores(model, query, texts, counted)
    return weighted_sum(columns, counted), columns


def channel_scores(
    model: Encoder, query: str, texts: Sequence[str], channels: Mapping[str, object]
) -> dict[str, Floats]:
    """Return the scores `(n,)` of n texts on each of the channels."""
    columns = {channel: np.zeros(len(texts), np.float32) for channel in channels}
    for start in range(0, len(texts), _BATCH):
        batch = texts[start : start + _BATCH]
        encoding = model.encode(
            [query, *batch],
            dense="dense" in channels,
            sparse="sparse" in channels,
            colbert="colbert" in channels,
        )
        for channel, scores in _scores(encoding[0], encoding[1:]).items():
            columns[channel][start : start + len(batch)] = scores
    return columns


def text_weights(weights: Weights, presets: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the weights above zero, after checking that they need no index.

    Raises:
        InputError: No channel has a weight, or bm25 has one.
    """
    counted = {c: w for c, w in parse_weights(weights, named_weights(presets)).items() if w > 0}
    if not counted or "bm25" in counted:
        raise InputError(
            "Texts are scored by dense, sparse and colbert only, and one of them needs a weight "
            f"above 0, got weights={shown(weights)}."
        )
    return counted


def check_texts(texts: Sequence[str]) -> None:
    """Check that `texts` is a sequence of Unicode strings, and not a single string.

    Raises:
        InputError: It is something else.
    """
    if isinstance(texts, str) or not isinstance(texts, Sequence | np.ndarray):
        kind = "the string" if isinstance(texts, str) else "the value"
        raise InputError(f"`texts` must be a list of strings, got {kind} {shown(texts)}.")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"texts[{i}] must be a string, got {shown(text)}.")
        check_text(f"texts[{i}]", text, DEFAULT_LIMITS.text_characters, "text_characters")


def check_query(query: str, limits: Limits = DEFAULT_LIMITS) -> None:
    """Check that a query is a Unicode string that is neither empty nor too long.

    Raises:
        InputError: The query is not a string, is empty, is only white space, is longer than the
            limit, or has a lone surrogate.
    """
    if not isinstance(query, str):
        raise InputError(f"A query must be a string, got {type(query).__name__}.")
    check_text("The query", query, limits.query_characters, "query_characters")
    if not query.strip():
        raise InputError(f"The query is empty ({shown(query)}). Pass a text to search for.")


def _scores(query: Encoding, passages: Encoding) -> dict[str, Floats]:
    """Return the scores `(n,)` of n passages on each channel of the query's encoding."""
    scores = {}
    if "dense" in query.channels:
        scores["dense"] = dense_scores(query.dense, passages.dense)[0]
    if "sparse" in query.channels:
        scores["sparse"] = sparse_scores(query.sparse, passages.sparse)[0]
    if "colbert" in query.channels:
        scores["colbert"] = colbert_scores(query.colbert[0], passages.colbert)
    return scores
