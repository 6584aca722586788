"""Scores of every query against every passage of a batch, differentiable, one function a view.

    dense    <q, p>, of unit vectors
    sparse   the sum of w_q(t) * w_p(t) over the token ids t, w(t) the largest weight of t in a text
    colbert  the mean, over the query's real tokens, of the best real token of the passage

The arithmetic is float32 whatever comes in, inside autocast too (float64 stays float64): a score
below 1 is off by up to 0.002 in bfloat16, which a temperature of 0.02 makes 0.1. No tensor grows
with batch x length x vocabulary or with (batch x length) squared.

Shapes: n queries of l tokens, m passages of k tokens, c the ColBERT width, t the real tokens of all
queries together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from m3rag.errors import InputError

_TEXTS = 256  # queries, and passages, whose term weights are spread into tables at a time
_BUCKET = 16  # passages of alike length that are matched together, padded to the longest of them
_TILE = 1 << 22  # token pairs compared at a time: 16 MB of float32


def dense_scores(queries: Tensor, passages: Tensor) -> Tensor:
    """Inner products `(n, m)` of queries `(n, d)` and passages `(m, d)`."""
    with torch.autocast(queries.device.type, enabled=False):
        return _exact(queries) @ _exact(passages).T


def sparse_scores(
    query_ids: Tensor, query_weights: Tensor, passage_ids: Tensor, passage_weights: Tensor
) -> Tensor:
    """Weight products `(n, m)` summed over common token ids; nothing in common is 0.

    Where an id comes several times in a text its largest weight counts, and gets the gradient;
    equal largest weights share the gradient evenly.

    Args:
        query_ids: `(n, l)`.
        query_weights: `(n, l)`, not negative, 0 at special tokens and padding.
        passage_ids: `(m, k)`.
        passage_weights: `(m, k)`, as those of the queries.
    """
    queries = zip(torch.split(query_ids, _TEXTS), torch.split(query_weights, _TEXTS), strict=True)
    passages = list(
        zip(torch.split(passage_ids, _TEXTS), torch.split(passage_weights, _TEXTS), strict=True)
    )
    tiles = [[_CommonTerms.apply(*q, *p) for p in passages] for q in queries]  # type: ignore[no-untyped-call]
    return torch.cat([torch.cat(row, dim=1) for row in tiles])


def colbert_scores(
    queries: Tensor, query_mask: Tensor, passages: Tensor, passage_mask: Tensor
) -> Tensor:
    """MaxSim `(n, m)`, averaged over the query's tokens.

    Unlike FlagEmbedding's, padding is left out of the maximum, which may so be below zero.

    Args:
        queries: unit vectors `(n, l, c)`.
        query_mask: bool `(n, l)`, True at real tokens; at least one a query.
        passages: unit vectors `(m, k, c)`.
        passage_mask: bool `(m, k)`, as that of the queries.

    Raises:
        InputError: a query or a passage without a real token.
    """
    counts = query_mask.sum(dim=1)  # (n,)
    if empty := int((counts == 0).sum() + (~passage_mask.any(dim=1)).sum()):
        raise InputError(
            f"colbert_scores needs a real token in every text, and {empty} have none: "
            "leave </s> unmasked."
        )
    owner = query_mask.nonzero()[:, 0]  # (t,)
    with torch.autocast(queries.device.type, enabled=False):
        best = _BestMatches.apply(queries[query_mask], owner, len(queries), passages, passage_mask)  # type: ignore[no-untyped-call]
    scores: Tensor = best / counts[:, None]
    return scores


def _exact(x: Tensor) -> Tensor:
    """In float32, or float64 if it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class _CommonTerms(torch.autograd.Function):
    """`sparse_scores` of a few texts; its tables are made again backward, not kept for it."""

    @staticmethod
    def forward(
        ctx: Any, q_ids: Tensor, q_weights: Tensor, p_ids: Tensor, p_weights: Tensor
    ) -> Tensor:
        """Score through tables whose columns are the queries' token ids."""
        ctx.save_for_backward(q_ids, q_weights, p_ids, p_weights)
        return _through_tables(q_ids, q_weights, p_ids, p_weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None, Tensor]:
        """Let autograd differentiate the same lines."""
        q_ids, q_weights, p_ids, p_weights = ctx.saved_tensors
        leaves = [w.detach().requires_grad_() for w in (q_weights, p_weights)]
        with torch.enable_grad():
            scores = _through_tables(q_ids, leaves[0], p_ids, leaves[1])
        grad_queries, grad_passages = torch.autograd.grad(scores, leaves, grad)
        return None, grad_queries, None, grad_passages


def _through_tables(q_ids: Tensor, q_weights: Tensor, p_ids: Tensor, p_weights: Tensor) -> Tensor:
    columns, q_at = torch.unique(q_ids, return_inverse=True)
    p_at = torch.searchsorted(columns, p_ids).clamp(max=len(columns) - 1)
    p_weights = p_weights * (columns[p_at] == p_ids)  # an id that no query has counts nowhere
    q_table, p_table = (
        _exact(weights)
        .new_zeros(len(at), len(columns))
        .scatter_reduce(1, at, _exact(weights), "amax")
        for at, weights in ((q_at, q_weights), (p_at, p_weights))
    )
    with torch.autocast(q_ids.device.type, enabled=False):
        return q_table @ p_table.T


class _BestMatches(torch.autograd.Function):
    """Sums, over a query's tokens, of each one's best match in a passage.

    Only the places of the best matches are kept. Backward, a pair of tokens that is no best match
    has no gradient, so that what is left are two sums of few vectors: over the passages for a
    query token, and over the query tokens that chose it for a passage token.
    """

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, owner: Tensor, n: int, passages: Tensor, mask: Tensor
    ) -> Tensor:
        """Match `queries (t, c)` of texts `owner (t,)` with `passages (m, k, c)`."""
        rows = _exact(queries)
        sums = rows.new_zeros(n, len(passages))
        places = owner.new_empty(len(rows), len(passages), dtype=torch.int32)
        for bucket, length in _buckets(mask):
            tokens = _exact(passages[bucket, :length]).flatten(0, 1)  # (b * length, c)
            bias = rows.new_zeros(len(bucket), length)
            bias = bias.masked_fill(~mask[bucket, :length], -torch.inf).flatten()
            step = max(1, _TILE // len(tokens))
            for start in range(0, len(rows), step):
                part = slice(start, start + step)
                pairs = torch.addmm(bias, rows[part], tokens.T)  # (step, b * length)
                best, place = pairs.view(-1, len(bucket), length).max(dim=2)  # (step, b)
                sums[:, bucket] = sums[:, bucket].index_add(0, owner[part], best)
                places[part, bucket] = place.int()
        ctx.save_for_backward(queries, owner, passages, mask, places)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, Tensor, None]:
        """Send each gradient to the one pair of tokens that made the maximum."""
        queries, owner, passages, mask, places = ctx.saved_tensors
        rows = _exact(queries)
        grad_queries, grad_passages = torch.zeros_like(rows), torch.zeros_like(passages)
        for bucket, length in _buckets(mask):
            b = len(bucket)
            tokens = _exact(passages[bucket, :length]).flatten(0, 1)  # (b * length, c)
            weights = grad[:, bucket][owner]  # (t, b)
            chosen = places[:, bucket] + torch.arange(b, device=grad.device) * length  # (t, b)
            grad_queries += F.embedding_bag(
                chosen, tokens, mode="sum", per_sample_weights=weights
            )  # (t, c)
            order = chosen.flatten().argsort()  # pairs, by the passage token that was chosen
            count = chosen.flatten().bincount(minlength=len(tokens))
            grad_passages[bucket, :length] = (
                F.embedding_bag(
                    order // b,
                    rows,
                    count.cumsum(0) - count,
                    mode="sum",
                    per_sample_weights=weights.flatten()[order],
                )
                .view(b, length, -1)
                .to(passages.dtype)
            )
        return grad_queries.to(queries.dtype), None, None, grad_passages, None


def _buckets(mask: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Passages `(b,)` of alike length, and how many tokens reach to the end of the longest."""
    ends = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).amax(dim=1)  # (m,)
    for bucket in torch.split(ends.argsort(), _BUCKET):
        yield bucket, int(ends[bucket[-1]])
