"""Locate a match in a passage: matched words, aligned tokens, the best sentence."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

Span = tuple[int, int]


def matched_spans(
    ids: Sequence[int], spans: Sequence[Span], matched: Collection[int]
) -> list[Span]:
    """Return the character spans of matched tokens; adjacent spans are joined.

    Args:
        ids: The passage's content token ids.
        spans: The character span of each token.
        matched: The token ids that occur in both texts.
    """
    joined: list[Span] = []
    for token, (start, end) in zip(ids, spans, strict=True):
        if token not in matched or start == end:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def align(
    query: NDArray[np.floating], passage: NDArray[np.floating]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the best-matching row of the passage for each row of the query.

    The mean of the similarities is the ColBERT score. The first of several equal rows is chosen.

    Args:
        query: ColBERT vectors `(t, d)`.
        passage: ColBERT vectors `(n, d)`, at least one.

    Returns:
        The rows `(t,)` and their similarities `(t,)`, -1 to 1.
    """
    similarity = np.asarray(query, np.float32) @ np.asarray(passage, np.float32).T  # (t, n)
    best = similarity.argmax(1)
    return best, np.take_along_axis(similarity, best[:, None], 1)[:, 0]


def best_sentence(
    query: NDArray[np.floating],
    passage: NDArray[np.floating],
    spans: Sequence[Span],
    sentences: Sequence[Span],
) -> tuple[Span, float] | None:
    """Return the sentence whose tokens match the query best, by MaxSim, and its score.

    Sentences are not encoded again: their tokens keep the vectors from the whole passage.

    Args:
        query: ColBERT vectors `(t, d)`.
        passage: ColBERT vectors `(n, d)`; row j belongs to content token j of the passage.
        spans: The character spans of the passage's content tokens.
        sentences: The character spans of the sentences to choose from.

    Returns:
        The span of the sentence and its score, -1 to 1; None if no sentence has a token.
    """
    similarity = np.asarray(passage, np.float32) @ np.asarray(query, np.float32).T  # (n, t)
    starts = np.array([start for start, _ in spans[: len(passage)]])
    best: tuple[Span, float] | None = None
    for begin, end in sentences:
        rows = np.flatnonzero((starts >= begin) & (starts < end))
        if len(rows) == 0:
            continue
        score = float(similarity[rows].max(0).mean())
        if best is None or score > best[1]:
            best = ((begin, end), score)
    return best
