"""Which texts are read together: neighbours of one document, as many as fit into a pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby


def passes(
    lengths: Sequence[int], documents: Sequence[str | None], limit: int
) -> Iterator[tuple[int, int]]:
    """The passes over n texts, each as `(first, one past the last)`.

    A document that is too long for one pass is cut between texts into passes of about the same
    length, so that no text is left with little to see.

    Args:
        lengths: the tokens of each text, none above `limit`.
        documents: for each text its document; None is read alone.
        limit: the most tokens of a pass.
    """
    start = 0
    for name, same in groupby(documents):
        end = start + sum(1 for _ in same)
        if name is None:
            yield from ((i, i + 1) for i in range(start, end))
        else:
            yield from _even(lengths, start, end, limit)
        start = end


def _even(lengths: Sequence[int], start: int, end: int, limit: int) -> Iterator[tuple[int, int]]:
    total = sum(lengths[start:end])
    fair = total / -(-total // limit)
    size = 0
    for i in range(start, end):
        if size and (size >= fair or size + lengths[i] > limit):
            yield start, i
            start, size = i, 0
        size += lengths[i]
    yield start, end
