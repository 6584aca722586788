"""Attention of texts that share one packed row: each attends only to itself, nothing is padded.

Shapes: T tokens of all texts together, h heads of k dimensions, n tokens of one text.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (its name everywhere)
from torch import Tensor, nn
from transformers import AttentionInterface

from m3rag.model.linear import packable, product

PACKED = "m3rag_packed"

_LONG = 512  # tokens of a text from which products by oneDNN are worth their calls
_ROWS = 128  # queries at a time: their scores, 4 MB for 8,192 keys, stay in cache


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    runs: Sequence[tuple[int, int]],
    dropout: float = 0.0,
    **_unused: Any,
) -> tuple[Tensor, None]:
    """Attend inside each text of a packed row; `runs` are (texts, their common length)."""
    h, k = query.shape[1], query.shape[3]
    sizes = [texts * length for texts, length in runs]
    # Split and joined, never indexed: each slice of a row would cost a gradient as long as the row.
    rows = (x[0].transpose(0, 1) for x in (query, key, value))  # (T, h, k)
    parts = zip(*(torch.split(x, sizes) for x in rows), strict=True)
    by_onednn = _by_onednn(query.device.type, query.dtype) and not torch.is_grad_enabled()
    mixed = []
    for (texts, length), part in zip(runs, parts, strict=True):
        q, kk, v = (
            x.reshape(texts, length, h, k).transpose(1, 2)  # (texts, h, length, k)
            for x in part
        )
        if by_onednn and length >= _LONG:
            attended = _attended(q, kk, v, scaling)
        else:
            attended = F.scaled_dot_product_attention(q, kk, v, dropout_p=dropout, scale=scaling)
        mixed.append(attended.transpose(1, 2).reshape(texts * length, h, k))
    return torch.cat(mixed)[None], None


AttentionInterface.register(PACKED, packed_attention)


@functools.cache
def _by_onednn(device: str, dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies this type here, and torch's own attention is slow.

    That multiplies with MKL, on AMD at less than half of oneDNN's rate; with AMX it does not.
    """
    here = device == "cpu" and packable(torch.float32) and packable(dtype)
    return here and not torch.cpu._is_amx_tile_supported()


def _attended(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """`softmax(q kᵀ scale) v`, `(texts, h, n, k)`; scores and softmax in float32, as torch's own.

    Keys are filled up to one of few lengths, as oneDNN keeps compiled code for each.
    """
    n, last = q.shape[2], q.shape[3]
    fill = -n % (64 if n <= 2048 else 256)
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    for one, queries, keys, values in zip(
        out.view(-1, n, last), *(x.flatten(0, 1) for x in (q, k, v)), strict=True
    ):
        keys = F.pad(keys.float(), (0, 0, 0, fill))  # (n + fill, k)
        columns = F.pad(values.T, (0, fill)).contiguous()  # (k, n + fill)
        queries = F.pad(queries.float() * scale, (0, 0, 0, -n % _ROWS))
        for start in range(0, n, _ROWS):
            scores = product(queries[start : start + _ROWS], keys)
            scores[:, n:] = -torch.inf
            torch.softmax(scores, dim=-1, out=scores)
            rows = one[start : start + _ROWS]
            rows.copy_(product(scores.to(v.dtype), columns)[: len(rows)])
    return out
