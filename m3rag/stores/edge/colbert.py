"""ColBERT vectors with 8 bits per dimension: how they are stored, and their MaxSim.

A passage of t tokens is one blob: t scales (float32), then t × d codes (int8). A token's vector is
its scale times its codes; the scale is the largest absolute value of the vector divided by 127.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from m3rag.stores.base import Floats

_MOST = 4096  # passage vectors scored at a time; more if one passage has more


def encode(vectors: NDArray[np.floating]) -> bytes:
    """Return the blob of a passage's vectors `(t, d)`."""
    vectors = np.asarray(vectors, np.float32)
    scales = np.abs(vectors).max(axis=1, initial=0.0) / np.float32(127)
    divisors = np.where(scales > 0, scales, np.float32(1))
    codes = np.rint(vectors / divisors[:, None]).astype(np.int8)
    head: bytes = scales.astype("<f4").tobytes()
    return head + codes.tobytes()


def decode(blob: bytes, dim: int) -> Floats:
    """Return the vectors `(t, dim)` of a blob."""
    scales, codes = _parts(blob, dim)
    vectors: Floats = codes.astype(np.float32) * scales[:, None]
    return vectors


def scores(query: Floats, blobs: Sequence[bytes], dim: int) -> Floats:
    """Return the MaxSim scores `(n,)` of a query `(q, dim)` and n passages."""
    from m3rag.threads import in_parts  # imports torch, so only here

    query = np.ascontiguousarray(query, np.float32)
    parts = in_parts(partial(_maxsim, query, dim=dim), _groups(blobs, dim))
    return np.concatenate([np.empty(0, np.float32), *parts])


def _groups(blobs: Sequence[bytes], dim: int) -> Iterator[Sequence[bytes]]:
    """Yield consecutive passages that have at most `_MOST` vectors together."""
    start = rows = 0
    for i, blob in enumerate(blobs):
        tokens = len(blob) // (4 + dim)
        if rows and rows + tokens > _MOST:
            yield blobs[start:i]
            start, rows = i, 0
        rows += tokens
    if start < len(blobs):
        yield blobs[start:]


def _maxsim(query: Floats, blobs: Sequence[bytes], *, dim: int) -> Floats:
    from m3rag.model.kernels.onednn import inner_products

    tokens = [len(blob) // (4 + dim) for blob in blobs]
    starts = np.cumsum([0, *tokens])
    scales = np.empty(starts[-1], np.float32)
    codes = np.empty((starts[-1], dim), np.int8)
    for blob, start, end in zip(blobs, starts, starts[1:], strict=False):
        scales[start:end], codes[start:end] = _parts(blob, dim)
    products = inner_products(codes, query)
    products *= scales[:, None]
    best: Floats = np.maximum.reduceat(products, starts[:-1], axis=0)
    return np.asarray(best.mean(axis=1), np.float32)


def _parts(blob: bytes, dim: int) -> tuple[Floats, NDArray[np.int8]]:
    """Return the scales and the codes of a blob, without a copy."""
    tokens = len(blob) // (4 + dim)
    scales = np.frombuffer(blob, "<f4", tokens)
    codes = np.frombuffer(blob, np.int8, tokens * dim, 4 * tokens)
    return scales, codes.reshape(tokens, dim)
