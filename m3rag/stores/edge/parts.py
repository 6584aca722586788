"""The parts of a large add, each of which is a transaction."""

from __future__ import annotations

from m3rag.stores.base import Points

_MESSAGE_BYTES = 2 << 20  # of a transaction; a search waits for one


def parts(points: Points) -> list[Points]:
    """Split points into parts of about `_MESSAGE_BYTES`, so that searches can run in between."""
    mean_size = size_of(points) // max(1, len(points)) + 1
    step = max(1, _MESSAGE_BYTES // mean_size)
    return [points[start : start + step] for start in range(0, len(points), step)]


def size_of(points: Points) -> int:
    """Return the approximate size of points on the disk in bytes."""
    size = sum(4 * len(passage.text) for passage in points.passages) + points.dense.nbytes
    size += points.sparse.values.nbytes * 2 + points.bm25.values.nbytes * 2
    return size + (0 if points.colbert is None else points.colbert.vectors.size)
