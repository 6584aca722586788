"""M3's scores within a batch, and its training loss (arXiv 2402.03216, eq. 2-6)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

CHUNK = (
    512  # query tokens scored at a time by MaxSim: bounds memory, and keeps the scores in the cache
)
BUCKETS = 8  # groups of passages of alike length


class _BestMatch(torch.autograd.Function):
    """``out[i, j] = max_b q[i] . p[j, b]`` without ever holding all token pairs."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, p: Tensor, absent: Tensor) -> Tensor:
        """Match tokens ``q (t, d)`` with passages ``p (m, l, d)``; ``absent (m, l)`` is padding."""
        m, length, width = p.shape
        flat = p.reshape(m * length, width).T
        bias = torch.zeros(m, length, dtype=q.dtype).masked_fill(absent, -torch.inf)
        found = [
            ((part @ flat).view(-1, m, length) + bias).max(dim=2) for part in torch.split(q, CHUNK)
        ]
        ctx.save_for_backward(q, p, torch.cat([place for _, place in found]))
        return torch.cat([best for best, _ in found])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, None]:
        """Send each gradient to the one pair of tokens that made the maximum."""
        q, p, places = ctx.saved_tensors
        m, length, width = p.shape
        flat, grad_q, grad_p = p.reshape(m * length, width), [], torch.zeros(m * length, width)
        columns = places + torch.arange(m) * length  # (t, m)
        for part, where, grad in zip(
            q.split(CHUNK), columns.split(CHUNK), grads[0].split(CHUNK), strict=True
        ):
            spread = torch.zeros(len(part), m * length, dtype=q.dtype).scatter_(
                1, where, grad.to(q.dtype)
            )
            grad_q.append(spread @ flat)
            grad_p += (spread.T @ part).float()
        return torch.cat(grad_q), grad_p.view(p.shape).to(p.dtype), None


def colbert_scores(q: Tensor, p: Tensor) -> Tensor:
    """Return MaxSim averaged over query tokens ``(n, m)``; all-zero vectors are padding."""
    real_q, real_p = (q != 0).any(dim=2), (p != 0).any(dim=2)
    owner, tokens = real_q.nonzero()[:, 0], q[real_q]  # (t,), (t, d)
    lengths = real_p.sum(dim=1)
    order = lengths.argsort()
    best = []
    for group in order.chunk(BUCKETS):
        longest = int(lengths[group].max())
        best.append(
            _BestMatch.apply(  # type: ignore[no-untyped-call]
                tokens, p[group, :longest], ~real_p[group, :longest]
            )
        )
    matches = torch.cat(best, dim=1)[:, order.argsort()].float()  # (t, m)
    total = matches.new_zeros(len(q), len(p)).index_add(0, owner, matches)
    return total / real_q.sum(dim=1)[:, None]


def sparse_scores(q_ids: Tensor, q_weights: Tensor, p_ids: Tensor, p_weights: Tensor) -> Tensor:
    """Return ``(n, m)`` sums over shared tokens of the products of their largest weights.

    Only the tokens of the queries become columns, so no ``batch x length x vocabulary`` tensor
    arises.
    """
    columns, q_at = torch.unique(q_ids, return_inverse=True)
    p_at = torch.searchsorted(columns, p_ids).clamp(max=len(columns) - 1)
    p_weights = p_weights * (columns[p_at] == p_ids)
    q_table, p_table = (
        torch.zeros(len(ids), len(columns)).scatter_reduce(1, at, weights, "amax")
        for ids, at, weights in ((q_ids, q_at, q_weights), (p_ids, p_at, p_weights))
    )
    return q_table @ p_table.T


def both_ways(scores: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy of ``target (n, n)``, query to passage and back."""
    there = -(target * torch.log_softmax(scores, dim=1).clamp(min=-1e4)).sum(dim=1).mean()
    back = torch.log_softmax(scores, dim=0).clamp(min=-1e4).diagonal().mean()
    return (there - back) / 2


def m3_loss(
    scores: dict[str, Tensor], same: Tensor, temperature: float, distil: bool
) -> dict[str, Tensor]:
    """Return the training loss and its parts.

    Args:
        scores: ``dense``, ``sparse`` and ``colbert``, each ``(n, n)``, pairs on the diagonal.
        same: True where an off-diagonal passage is no negative ``(n, n)``.
        temperature: What scores are divided by.
        distil: Whether the ensemble teaches the single views as well.
    """
    scaled = {name: (s / temperature).masked_fill(same, -torch.inf) for name, s in scores.items()}
    d, s, c = scaled["dense"], scaled["sparse"], scaled["colbert"]
    ensemble = d + 0.3 * s + c
    hard = torch.eye(len(d))
    parts = {name: both_ways(x, hard) for name, x in {**scaled, "ensemble": ensemble}.items()}
    loss = (parts["dense"] + parts["ensemble"] + 0.1 * parts["sparse"] + parts["colbert"]) / 4
    if distil:
        teacher = functional.softmax(ensemble.detach(), dim=1)
        soft = [
            -(teacher * torch.log_softmax(x, dim=1).clamp(min=-1e4)).sum(dim=1).mean()
            for x in (d, s, c)
        ]
        loss = (loss + (soft[0] + 0.1 * soft[1] + soft[2]) / 3) / 2
    return {"loss": loss, **parts}
