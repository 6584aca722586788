"""Scores of queries against passages, one function a view, and FlagEmbedding's five numbers.

Formulas (FlagEmbedding 1.4.2, BGE-M3; the paper is arXiv 2402.03216, section 3.2):

    dense    <q, p>, of unit vectors
    sparse   the sum of w_q(t) * w_p(t) over the tokens t that both texts have
    colbert  the mean, over the query's vectors, of the best match among the passage's vectors

Everything is float32 in and out. Unlike FlagEmbedding, sums are never taken in float16, and
nothing is padded, so that a passage's best match may be below zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from m3rag.encoder import Encoder
from m3rag.encoding import Encoding, MultiVectors, SparseVectors
from m3rag.errors import InputError

Floats = NDArray[np.float32]

_LEAST, _MOST = 1024, 8192  # passage vectors scored at a time, or one passage's
_TABLE = 1 << 20  # token ids below this are looked up in a table, above it by bisection
_PAIRS = 64  # pairs encoded at a time by compute_score

Match = tuple[int, float, float]
"""A token id, its weight in the query and its weight in the passage."""


def dense_scores(queries: Floats, passages: Floats) -> Floats:
    """Inner products `(nq, np)` of queries `(nq, d)` and passages `(np, d)`."""
    return np.asarray(queries, np.float32) @ np.asarray(passages, np.float32).T


def sparse_scores(queries: SparseVectors, passages: SparseVectors) -> Floats:
    """Weight products summed over common tokens, `(nq, np)`; nothing in common is 0."""
    rows = np.repeat(np.arange(len(passages)), np.diff(passages.indptr))
    scores = np.zeros((len(queries), len(passages)), np.float32)
    for i in range(len(queries)):  # each query touches every entry of the passages once
        weights = _lookup(*queries.rows(i), passages.indices)
        hit = np.flatnonzero(weights)
        products = weights[hit].astype(np.float64) * passages.values[hit]
        scores[i] = np.bincount(rows[hit], products, minlength=len(passages))
    return scores


def colbert_scores(query: NDArray[np.floating], passages: MultiVectors) -> Floats:
    """MaxSim `(np,)` of one query's vectors `(t, d)` with each passage's; at least one each."""
    from m3rag.threads import in_parts, share  # imports torch, so only here

    query = np.ascontiguousarray(query, np.float32)
    if len(query) == 0 or (len(passages) and np.diff(passages.offsets).min() == 0):
        raise InputError(
            "colbert_scores needs at least one vector in the query and in every passage "
            "(a text always has one, its </s>)."
        )
    rows = min(_MOST, max(_LEAST, share(len(passages.vectors))))
    parts = in_parts(partial(_maxsim, query, passages), _spans(passages.offsets, rows))
    return np.concatenate([np.empty(0, np.float32), *parts])


def _spans(offsets: NDArray[np.int64], rows: int) -> Iterator[tuple[int, int]]:
    """The first passage, and the first one after it, of parts of at most so many vectors."""
    start, last = 0, len(offsets) - 1
    while start < last:
        limit = offsets[start] + rows
        end = max(start + 1, int(np.searchsorted(offsets, limit, side="right")) - 1)
        yield start, end
        start = end


def _maxsim(query: Floats, passages: MultiVectors, span: tuple[int, int]) -> Floats:
    from m3rag.model.kernels.onednn import inner_products

    offsets = passages.offsets[span[0] : span[1] + 1]
    products = inner_products(passages.vectors[offsets[0] : offsets[-1]], query)
    best: Floats = np.maximum.reduceat(products, offsets[:-1] - offsets[0], axis=0)  # (np, t)
    return np.asarray(best.mean(axis=1))


def matched_tokens(query: Mapping[int, float], passage: Mapping[int, float]) -> list[Match]:
    """Return the tokens in both sparse vectors, the largest product of weights first.

    The products add up to the sparse score. Equal products are ordered by token id.
    """
    common = [(t, w, passage[t]) for t, w in query.items() if t in passage]
    return sorted(common, key=lambda match: (-match[1] * match[2], match[0]))


def compute_score(
    model: Encoder,
    pairs: Sequence[tuple[str, str]],
    *,
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
    max_query_length: int = 512,
    max_passage_length: int = 512,
) -> dict[str, list[float]]:
    """FlagEmbedding's `compute_score`: five scores for each (query, passage) pair.

    Args:
        model: what encodes, usually an `M3Model`.
        pairs: `(query, passage)` texts; none give empty lists.
        weights: of dense, sparse and colbert, in that order; sums are divided by their weights'
            sum, and are 0.0 where all the weights involved are zero.
        max_query_length: tokens of a query, `<s>` and `</s>` included.
        max_passage_length: tokens of a passage, likewise.

    Returns:
        "colbert", "sparse", "dense", "sparse+dense" and "colbert+sparse+dense", each with one
        number a pair.

    Raises:
        InputError: something in `pairs` is not two strings, or `weights` not three numbers >= 0.
    """
    _check_pairs(pairs)
    if len(weights) != 3 or not all(np.isfinite(w) and w >= 0 for w in weights):
        raise InputError(
            f"weights are three numbers of at least 0 (dense, sparse, colbert), got {weights!r}."
        )
    views = [np.empty((0, 3))]
    todo = iter(pairs)
    while some := list(islice(todo, _PAIRS)):
        queries = model.encode([q for q, _ in some], max_length=max_query_length)
        passages = model.encode([p for _, p in some], max_length=max_passage_length)
        views.append(np.array([_pair_scores(queries[i], passages[i]) for i in range(len(some))]))
    dense, sparse, colbert = np.concatenate(views).T
    w_d, w_s, w_c = (float(w) for w in weights)
    both = w_d * dense + w_s * sparse
    scores = {
        "colbert": colbert,
        "sparse": sparse,
        "dense": dense,
        "sparse+dense": both / ((w_d + w_s) or 1.0),
        "colbert+sparse+dense": (both + w_c * colbert) / ((w_d + w_s + w_c) or 1.0),
    }
    return {name: column.tolist() for name, column in scores.items()}


def _pair_scores(query: Encoding, passage: Encoding) -> tuple[float, float, float]:
    return (
        float(dense_scores(query.dense, passage.dense)[0, 0]),
        float(sparse_scores(query.sparse, passage.sparse)[0, 0]),
        float(colbert_scores(query.colbert[0], passage.colbert)[0]),
    )


def _check_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    for i, pair in enumerate(pairs):
        if isinstance(pair, str) or len(pair) != 2 or not all(isinstance(x, str) for x in pair):
            raise InputError(
                f"pairs[{i}] must be (query, passage), two strings, got {pair!r}. "
                "For a single pair, pass [(query, passage)]."
            )


def _lookup(ids: NDArray[np.int32], weights: Floats, tokens: NDArray[np.int32]) -> Floats:
    """The weight of each of `tokens`, 0 where it is not among the ascending `ids`."""
    if len(ids) == 0:
        return np.zeros(len(tokens), np.float32)
    if ids[-1] < _TABLE:
        table = np.zeros(int(ids[-1]) + 2, np.float32)
        table[ids] = weights
        return table[np.minimum(tokens, len(table) - 1)]
    at = np.minimum(np.searchsorted(ids, tokens), len(ids) - 1)
    return np.where(ids[at] == tokens, weights[at], np.float32(0))
