"""Differentiable scores of all queries against all passages of a batch, one function per view.

    dense    <q, p> of unit vectors
    sparse   the sum over token ids t of w_q(t) * w_p(t); w(t) is the largest weight of t in a text
    colbert  the mean over the query's real tokens of the best similarity to a real passage token

The arithmetic is float32 for all inputs, also inside autocast (float64 stays float64). In bfloat16,
a score below 1 would be off by up to 0.002, which a temperature of 0.02 turns into 0.1. No tensor
grows with batch x length x vocabulary or with (batch x length) squared.

Shapes: n queries of l tokens, m passages of k tokens, ColBERT width c, t real tokens in all queries
together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from m3rag.errors import InputError

_TEXTS = 256  # queries, and passages, whose term weights are in tables at a time
_BUCKET = 16  # passages of similar length that are compared together, padded to the longest
_TILE = 1 << 22  # token pairs compared at a time: 16 MB of float32


def dense_scores(queries: Tensor, passages: Tensor) -> Tensor:
    """Return the inner products `(n, m)` of queries `(n, d)` and passages `(m, d)`."""
    with torch.autocast(queries.device.type, enabled=False):
        return _exact(queries) @ _exact(passages).T


def sparse_scores(
    query_ids: Tensor, query_weights: Tensor, passage_ids: Tensor, passage_weights: Tensor
) -> Tensor:
    """Return the weight products `(n, m)`, summed over common token ids; 0 if there are none.

    If an id occurs several times in a text, its largest weight counts and gets the gradient; equal
    largest weights share the gradient evenly.

    Args:
        query_ids: Token ids `(n, l)`.
        query_weights: Weights `(n, l)`, not negative, 0 at special tokens and padding.
        passage_ids: Token ids `(m, k)`.
        passage_weights: Weights `(m, k)`, like those of the queries.
    """
    queries = zip(torch.split(query_ids, _TEXTS), torch.split(query_weights, _TEXTS), strict=True)
    passages = list(
        zip(torch.split(passage_ids, _TEXTS), torch.split(passage_weights, _TEXTS), strict=True)
    )
    score = cast(Callable[..., Tensor], _CommonTerms.apply)
    tiles = [[score(*q, *p) for p in passages] for q in queries]
    return torch.cat([torch.cat(row, dim=1) for row in tiles])


def colbert_scores(
    queries: Tensor, query_mask: Tensor, passages: Tensor, passage_mask: Tensor
) -> Tensor:
    """Return MaxSim `(n, m)`, averaged over the query's tokens.

    Unlike in FlagEmbedding, padding is left out of the maximum, which may therefore be below zero.

    Args:
        queries: Unit vectors `(n, l, c)`.
        query_mask: Bool `(n, l)`, True at real tokens; at least one per query.
        passages: Unit vectors `(m, k, c)`.
        passage_mask: Bool `(m, k)`, like that of the queries.

    Raises:
        InputError: A query or a passage has no real token.
    """
    counts = query_mask.sum(dim=1)  # (n,)
    if empty := int((counts == 0).sum() + (~passage_mask.any(dim=1)).sum()):
        raise InputError(
            f"Every query and passage needs a real token, but {empty} have none. Leave </s> "
            "unmasked."
        )
    owner = query_mask.nonzero()[:, 0]  # (t,)
    sums = cast(Callable[..., Tensor], _BestMatches.apply)
    with torch.autocast(queries.device.type, enabled=False):
        best = sums(queries[query_mask], owner, len(queries), passages, passage_mask)
    return best / counts[:, None]


def _exact(x: Tensor) -> Tensor:
    """Return x in float32, or in float64 if it is float64."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class _CommonTerms(torch.autograd.Function):
    """`sparse_scores` of a few texts; the backward pass builds the tables again."""

    @staticmethod
    def forward(
        ctx: Any, q_ids: Tensor, q_weights: Tensor, p_ids: Tensor, p_weights: Tensor
    ) -> Tensor:
        """Score with tables whose columns are the queries' token ids."""
        ctx.save_for_backward(q_ids, q_weights, p_ids, p_weights)
        return _through_tables(q_ids, q_weights, p_ids, p_weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None, Tensor]:
        """Differentiate the same computation with autograd."""
        q_ids, q_weights, p_ids, p_weights = ctx.saved_tensors
        leaves = [w.detach().requires_grad_() for w in (q_weights, p_weights)]
        with torch.enable_grad():
            scores = _through_tables(q_ids, leaves[0], p_ids, leaves[1])
        grad_queries, grad_passages = torch.autograd.grad(scores, leaves, grad)
        return None, grad_queries, None, grad_passages


def _through_tables(q_ids: Tensor, q_weights: Tensor, p_ids: Tensor, p_weights: Tensor) -> Tensor:
    columns, q_at = torch.unique(q_ids, return_inverse=True)
    p_at = torch.searchsorted(columns, p_ids).clamp(max=len(columns) - 1)
    p_weights = p_weights * (columns[p_at] == p_ids)  # drops ids that no query has
    q_table, p_table = (
        _exact(weights)
        .new_zeros(len(at), len(columns))
        .scatter_reduce(1, at, _exact(weights), "amax")
        for at, weights in ((q_at, q_weights), (p_at, p_weights))
    )
    with torch.autocast(q_ids.device.type, enabled=False):
        return q_table @ p_table.T


class _BestMatches(torch.autograd.Function):
    """The sum over a query's tokens of the similarity of each one's best match in a passage.

    Only the positions of the best matches are kept. Other pairs of tokens have no gradient, so the
    backward pass consists of two sums of few vectors: for a query token over the passages, and for
    a passage token over the query tokens whose best match it is.
    """

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, owner: Tensor, n: int, passages: Tensor, mask: Tensor
    ) -> Tensor:
        """Compare `queries (t, c)` of texts `owner (t,)` with `passages (m, k, c)`."""
        rows = _exact(queries)
        sums = rows.new_zeros(n, len(passages))
        positions = owner.new_empty(len(rows), len(passages), dtype=torch.int32)
        for bucket, length in _buckets(mask):
            tokens = _exact(passages[bucket, :length]).flatten(0, 1)  # (b * length, c)
            bias = rows.new_zeros(len(bucket), length)
            bias = bias.masked_fill(~mask[bucket, :length], -torch.inf).flatten()
            step = max(1, _TILE // len(tokens))
            for start in range(0, len(rows), step):
                part = slice(start, start + step)
                pairs = torch.addmm(bias, rows[part], tokens.T)  # (step, b * length)
                best, position = pairs.view(-1, len(bucket), length).max(dim=2)  # (step, b)
                sums[:, bucket] = sums[:, bucket].index_add(0, owner[part], best)
                positions[part, bucket] = position.int()
        ctx.save_for_backward(queries, owner, passages, mask, positions)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, Tensor, None]:
        """Pass each gradient to the pair of tokens that made the maximum."""
        queries, owner, passages, mask, positions = ctx.saved_tensors
        rows = _exact(queries)
        grad_queries, grad_passages = torch.zeros_like(rows), torch.zeros_like(passages)
        for bucket, length in _buckets(mask):
            b = len(bucket)
            tokens = _exact(passages[bucket, :length]).flatten(0, 1)  # (b * length, c)
            weights = grad[:, bucket][owner]  # (t, b)
            chosen = positions[:, bucket] + torch.arange(b, device=grad.device) * length  # (t, b)
            grad_queries += F.embedding_bag(
                chosen, tokens, mode="sum", per_sample_weights=weights
            )  # (t, c)
            order = chosen.flatten().argsort()  # pairs, sorted by their passage token
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
    """Yield passages `(b,)` of similar length, and the position after their last real token."""
    ends = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).amax(dim=1)  # (m,)
    for bucket in torch.split(ends.argsort(), _BUCKET):
        yield bucket, int(ends[bucket[-1]])
