"""Attention within the texts of a packed row: each text attends only to itself, without padding.

Shapes: T tokens of all texts, h heads of k dimensions, n tokens of one text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface

from m3rag.model.kernels.device import attention_by_onednn
from m3rag.model.kernels.onednn import product

PACKED = "m3rag_packed"

_LONG = 512  # tokens of a text from which oneDNN products outweigh the overhead of their calls
_ROWS = 128  # queries at a time; their scores, 4 MB for 8,192 keys, stay in cache
_LANES = 16  # numbers per vector operation in the softmax of torch's CPU attention


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
    """Adapt `attend` to transformers: inputs are `(1, h, T, k)`, the result is `(1, T, h, k)`."""
    rows = (x[0].transpose(0, 1) for x in (query, key, value))
    return attend(*rows, runs=runs, scale=scaling, dropout=dropout)[None], None


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    runs: Sequence[tuple[int, int]],
    scale: float,
    dropout: float = 0.0,
) -> Tensor:
    """Compute attention within each text of a packed row; inputs and result are `(T, h, k)`.

    Args:
        query: The queries.
        key: The keys.
        value: The values.
        runs: The (number of texts, their common length) of each run of equally long texts, from
            left to right.
        scale: The factor of the scores.
        dropout: The dropout probability.
    """
    if query.device.type == "cpu" and not torch.is_grad_enabled():
        return torch.cat(list(_on_cpu(query, key, value, runs, scale)))
    # Split and join instead of indexing: the gradient of each slice would be as long as the row.
    sizes = [texts * length for texts, length in runs]
    parts = zip(*(torch.split(x, sizes) for x in (query, key, value)), strict=True)
    mixed = []
    for run, part in zip(runs, parts, strict=True):
        q, k, v = (x.unflatten(0, run).transpose(1, 2) for x in part)  # (texts, h, length, k)
        attended = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scale)
        mixed.append(attended.transpose(1, 2).flatten(0, 1))
    return torch.cat(mixed)


AttentionInterface.register(PACKED, packed_attention)


def _on_cpu(
    query: Tensor, key: Tensor, value: Tensor, runs: Sequence[tuple[int, int]], scale: float
) -> Iterator[Tensor]:
    """Yield the attention output of each run, `(texts · length, h, k)`.

    torch's softmax handles the scores that do not fill all lanes one by one: 127 keys take twice as
    long as 128. So the keys of a text are extended by the first keys of the next text, in the same
    memory, and the extra keys are masked.
    """
    start = 0
    for texts, length in runs:
        end = start + texts * length
        fill = -length % _LANES
        fill = fill if end + fill <= len(key) else 0
        q = query[start:end].unfold(0, length, length).mT  # (texts, h, length, k)
        k, v = (x[start : end + fill].unfold(0, length + fill, length).mT for x in (key, value))
        if length >= _LONG and attention_by_onednn(query.dtype):
            attended = _attend_by_onednn(q, k[:, :, :length], v[:, :, :length], scale)
        else:
            mask = _fill_mask(length, fill, query.dtype) if fill else None
            attended = F.scaled_dot_product_attention(q, k, v, mask, scale=scale)
        yield attended.transpose(1, 2).flatten(0, 1)
        start = end


def _fill_mask(length: int, fill: int, dtype: torch.dtype) -> Tensor:
    """Return an additive mask of the last `fill` keys, `(length, length + fill)`."""
    row = torch.zeros(length + fill, dtype=dtype)
    row[length:] = -torch.inf
    return row.expand(length, -1)


def _attend_by_onednn(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Return `softmax(q kᵀ scale) v`, `(texts, h, n, k)`.

    Scores and softmax are in float32, as in torch's attention. Keys are padded to one of a few
    lengths, because oneDNN keeps compiled code for each length.
    """
    n, last = q.shape[2], q.shape[3]
    fill = -n % (64 if n <= 2048 else 256)
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    for head, queries, keys, values in zip(
        out.view(-1, n, last), *(x.flatten(0, 1) for x in (q, k, v)), strict=True
    ):
        keys = F.pad(keys.float(), (0, 0, 0, fill))  # (n + fill, k)
        columns = F.pad(values.T, (0, fill)).contiguous()  # (k, n + fill)
        queries = F.pad(queries.float() * scale, (0, 0, 0, -n % _ROWS))
        for start in range(0, n, _ROWS):
            scores = product(queries[start : start + _ROWS], keys)
            scores[:, n:] = -torch.inf
            torch.softmax(scores, dim=-1, out=scores)
            rows = head[start : start + _ROWS]
            rows.copy_(product(scores.to(v.dtype), columns)[: len(rows)])
    return out
