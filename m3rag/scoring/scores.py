"""Scores of queries against passages: one function per view, and FlagEmbedding's five scores.

Formulas (FlagEmbedding 1.4.2, BGE-M3; the paper is arXiv 2402.03216, section 3.2):

    dense    <q, p> of unit vectors
    sparse   the sum of w_q(t) * w_p(t) over the tokens t in both texts
    colbert  the mean, over the query's vectors, of the best match among the passage's vectors

Inputs and outputs are float32. Unlike FlagEmbedding, sums are never computed in float16, and
nothing is padded, so the best match of a query vector may be below zero.
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
from m3rag.limits import DEFAULT_LIMITS, check_text, shown
from m3rag.scoring.fusion import parse_weights
from m3rag.threads import in_parts, share

Floats = NDArray[np.float32]

_LEAST, _MOST = 1024, 8192  # passage vectors scored at a time; more if one passage has more
_TABLE = 1 << 20  # token ids below this are looked up in a table, others by bisection
_PAIRS = 64  # pairs encoded at a time by compute_score

Match = tuple[int, float, float]
"""A token id, its weight in the query and its weight in the passage."""


def dense_scores(queries: Floats, passages: Floats) -> Floats:
    """Return the inner products `(nq, np)` of queries `(nq, d)` and passages `(np, d)`."""
    return np.asarray(queries, np.float32) @ np.asarray(passages, np.float32).T


def sparse_scores(queries: SparseVectors, passages: SparseVectors) -> Floats:
    """Return the sum of weight products over common tokens, `(nq, np)`; 0 without any."""
    rows = np.repeat(np.arange(len(passages)), np.diff(passages.indptr))
    scores = np.zeros((len(queries), len(passages)), np.float32)
    for i in range(len(queries)):  # each query touches every entry of the passages once
        weights = _lookup(*queries.rows(i), passages.indices)
        hit = np.flatnonzero(weights)
        products = weights[hit].astype(np.float64) * passages.values[hit]
        scores[i] = np.bincount(rows[hit], products, minlength=len(passages))
    return scores


def colbert_scores(query: NDArray[np.floating], passages: MultiVectors) -> Floats:
    """Return the MaxSim scores `(np,)` of one query `(t, d)` and passages.

    Raises:
        InputError: The query or a passage has no vector.
    """
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
    """Yield the ranges [start, end) of passages that have at most `rows` vectors together."""
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
    """Return five scores for each (query, passage) pair, like FlagEmbedding's `compute_score`.

    Args:
        model: Encodes the texts; usually an `M3Model`.
        pairs: The (query, passage) texts; an empty sequence gives empty lists.
        weights: The weights of dense, sparse and colbert, in this order. Sums are divided by the
            sum of their weights, and are 0.0 if all weights involved are zero.
        max_query_length: The most tokens of a query to encode, `<s>` and `</s>` included.
        max_passage_length: The most tokens of a passage to encode, `<s>` and `</s>` included.

    Returns:
        "colbert", "sparse", "dense", "sparse+dense" and "colbert+sparse+dense", each with one
        number per pair.

    Raises:
        InputError: A pair is not two strings, or `weights` is not three numbers of at least 0.
    """
    _check_pairs(pairs)
    w_d, w_s, w_c = _three(weights)
    rows = [np.empty((0, 3))]
    remaining = iter(pairs)
    while chunk := list(islice(remaining, _PAIRS)):
        queries = model.encode([q for q, _ in chunk], max_length=max_query_length)
        passages = model.encode([p for _, p in chunk], max_length=max_passage_length)
        rows.append(np.array([_pair_scores(queries[i], passages[i]) for i in range(len(chunk))]))
    dense, sparse, colbert = np.concatenate(rows).T
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


def _three(weights: object) -> tuple[float, float, float]:
    """Return the weights of dense, sparse and colbert, checked."""
    try:
        if not isinstance(weights, Sequence | np.ndarray) or isinstance(weights, str):
            raise InputError(f"`weights` is a {type(weights).__name__}.")
        if len(weights) != 3:
            raise InputError(f"There are {len(weights)}.")
        dense, sparse, colbert, _ = parse_weights(tuple(weights)).values()
    except InputError as error:
        raise InputError(
            "`weights` must be three numbers of at least 0 (dense, sparse, colbert), got "
            f"{shown(weights)}. {error}"
        ) from None
    return dense, sparse, colbert


def _check_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    for i, pair in enumerate(pairs):
        is_pair = isinstance(pair, tuple | list | np.ndarray) and len(pair) == 2
        if not is_pair or not all(isinstance(x, str) for x in pair):
            raise InputError(
                f"pairs[{i}] must be (query, passage), two strings, got {shown(pair)}. "
                "For a single pair, pass [(query, passage)]."
            )
        for text in pair:
            check_text(f"pairs[{i}]", text, DEFAULT_LIMITS.text_characters, "text_characters")


def _lookup(ids: NDArray[np.int32], weights: Floats, tokens: NDArray[np.int32]) -> Floats:
    """Return the weight of each token, 0 if it is not among the ascending `ids`."""
    if len(ids) == 0:
        return np.zeros(len(tokens), np.float32)
    if ids[-1] < _TABLE:
        table = np.zeros(int(ids[-1]) + 2, np.float32)
        table[ids] = weights
        return table[np.minimum(tokens, len(table) - 1)]
    at = np.minimum(np.searchsorted(ids, tokens), len(ids) - 1)
    return np.where(ids[at] == tokens, weights[at], np.float32(0))
