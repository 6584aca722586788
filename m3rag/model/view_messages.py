"""Views of texts as messages, and back; what is received is checked."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3rag.encoding import CHANNELS, Encoding, MultiVectors, SparseVectors
from m3rag.errors import InputError
from m3rag.http.messages import Message
from m3rag.http.received import Array, Received
from m3rag.limits import shown

TOKENS = 1 << 31  # token ids are below it


def sparse_arrays(vectors: SparseVectors) -> list[Array]:
    """Return sparse vectors as the arrays of a message."""
    return [vectors.indptr, vectors.indices, vectors.values]


def received_sparse(
    received: Received, what: str, n: int, *, vocabulary: int = TOKENS
) -> SparseVectors:
    """Return the sparse vectors of n texts.

    Args:
        received: The arrays of the message.
        what: What they are, for errors.
        n: The number of texts.
        vocabulary: The number of token ids.

    Raises:
        InputError: They have tokens that are not ascending or too high, or weights below zero.
    """
    indptr = received.offsets(what, n)
    indices = received.next(f"tokens of {what}", "i4", width=int(indptr[-1]))
    values = received.next(what, "f4", width=len(indices))
    rising = np.diff(indices) > 0
    starts = indptr[1:-1]  # the first token of a text may be below the last of the one before
    rising[starts[(starts > 0) & (starts < len(indices))] - 1] = True
    in_range = not len(indices) or 0 <= indices.min() <= indices.max() < vocabulary
    if not (rising.all() and in_range and (values > 0).all()):
        raise InputError(
            f"The {what} need ascending tokens below {vocabulary:,} and values above zero."
        )
    return SparseVectors(indptr, indices, values)


def multi_arrays(vectors: MultiVectors) -> list[Array]:
    """Return ColBERT vectors as the arrays of a message."""
    return [vectors.offsets, vectors.vectors]


def received_multi(received: Received, n: int, width: int) -> MultiVectors:
    """Return the ColBERT vectors of n texts.

    Raises:
        InputError: They are not of this width, or a text has none.
    """
    offsets = received.offsets("ColBERT vectors", n, least=1)
    vectors = received.next("ColBERT vectors", "f2 f4", width=width, axes=2)
    if len(vectors) != offsets[-1]:
        raise InputError(f"There are {len(vectors):,} ColBERT vectors, not {offsets[-1]:,}.")
    return MultiVectors(offsets, vectors.copy())  # they must own their memory


def encoding_message(encoding: Encoding) -> Message:
    """Return an encoding as a message."""
    arrays: list[Array] = [encoding.n_tokens, encoding.truncated]
    if "dense" in encoding.channels:
        arrays.append(encoding.dense)
    if "sparse" in encoding.channels:
        arrays += sparse_arrays(encoding.sparse)
    if "colbert" in encoding.channels:
        arrays += multi_arrays(encoding.colbert)
    return {"channels": [*encoding.channels]}, arrays


def received_encoding(message: Message, n: int, *, dim: int, colbert_dim: int) -> Encoding:
    """Return the encoding of n texts.

    Raises:
        InputError: The message has none.
    """
    body, arrays = message
    channels = body.get("channels")
    if not isinstance(channels, list) or not all(channel in CHANNELS for channel in channels):
        raise InputError(
            f"`channels` must be some of {', '.join(CHANNELS)}, got {shown(channels)}."
        )
    received = Received(arrays)
    n_tokens = received.next("token counts", "i4", width=n)
    truncated = received.next("cut texts", "b1", width=n)
    views: dict[str, Any] = {}
    if "dense" in channels:
        views["dense"] = received.next("dense vectors", "f4", width=dim, axes=2)
    if "sparse" in channels:
        views["sparse"] = received_sparse(received, "term weights", n)
    if "colbert" in channels:
        views["colbert"] = received_multi(received, n, colbert_dim)
    return Encoding(n_tokens=n_tokens, truncated=truncated, **views)


def ragged_message(rows: list[NDArray[np.float32]]) -> Message:
    """Return arrays of different lengths, `(t,)` each, as a message."""
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return {}, [offsets, np.concatenate([*rows, np.empty(0, np.float32)])]


def received_ragged(message: Message, n: int) -> list[NDArray[np.float32]]:
    """Return n arrays of different lengths.

    Raises:
        InputError: The message has others.
    """
    received = Received(message[1])
    offsets = received.offsets("token weights", n)
    values = received.next("token weights", "f4", width=int(offsets[-1]))
    return [values[start:end].copy() for start, end in pairwise(offsets.tolist())]
