"""Where in a passage a question is met: matched words, aligned tokens, the best sentence."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

Span = tuple[int, int]


def matched_spans(
    ids: Sequence[int], spans: Sequence[Span], matched: Collection[int]
) -> list[Span]:
    """The character spans of matched tokens, neighbours joined.

    Args:
        ids: the passage's content token ids.
        spans: their character spans.
        matched: the token ids that both texts have.
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
    """The row of the passage that each row of the query matches best, and how well.

    The mean of the similarities is the ColBERT score; of equal ones, the first row counts.

    Args:
        query: ColBERT vectors `(t, d)`.
        passage: ColBERT vectors `(n, d)`, at least one.

    Returns:
        Rows `(t,)` and similarities `(t,)`, -1 to 1.
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
    """The sentence whose own tokens match the query best, by MaxSim; None if none has a token.

    The passage's vectors have seen the whole passage, so no sentence is encoded again.

    Args:
        query: ColBERT vectors `(t, d)`.
        passage: ColBERT vectors `(n, d)`; row j is the passage's content token j.
        spans: the character spans of the passage's content tokens.
        sentences: the character spans of its sentences.
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
