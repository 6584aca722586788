"""Attention within the texts of a packed row: each text attends only to itself, without padding.

Shapes: T tokens of all texts, h heads of k dimensions, n tokens of one text.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface

from m3rag.model.kernels.device import attention_by_onednn, attention_by_products
from m3rag.model.kernels.onednn import product

PACKED = "m3rag_packed"

_LONG = 512  # tokens of a text from which oneDNN products outweigh the overhead of their calls
_SHORT = 96  # tokens of a text below which torch's attention has the least overhead
_ROWS = 128  # queries at a time; their scores, 4 MB for 8,192 keys, stay in cache
_SCORES = 2**20  # of texts between, at a time: 4 MB in float32
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
        attended = torch.empty_like(query, memory_format=torch.contiguous_format)
        _on_cpu(query, key, value, runs, scale, attended)
        return attended
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
    query: Tensor,
    key: Tensor,
    value: Tensor,
    runs: Sequence[tuple[int, int]],
    scale: float,
    out: Tensor,
) -> None:
    """Write the attention output of all runs, `(T, h, k)`, to `out`."""
    products = attention_by_products(query.dtype)
    by_onednn = attention_by_onednn(query.dtype)
    start = 0
    for texts, length in runs:
        end = start + texts * length
        if products and _SHORT <= length < _LONG:
            for i in range(start, end, length):
                text = slice(i, i + length)
                _attend_by_products(query[text], key[text], value[text], scale, out[text])
        elif by_onednn and length >= _LONG:
            q, k, v = (_texts(x, start, end, length) for x in (query, key, value))
            _texts(out, start, end, length).copy_(_attend_by_onednn(q, k, v, scale))
        else:
            # torch's softmax handles the scores that do not fill all lanes one by one: 127 keys
            # take twice as long as 128. So the keys of a text are extended by the first keys of the
            # next text, in the same memory, and the extra keys are masked.
            fill = -length % _LANES
            fill = fill if end + fill <= len(key) else 0
            q = _texts(query, start, end, length)
            k, v = (_texts(x, start, end, length, fill) for x in (key, value))
            mask = _fill_mask(length, fill, query.dtype) if fill else None
            attended = F.scaled_dot_product_attention(q, k, v, mask, scale=scale)
            _texts(out, start, end, length).copy_(attended)
        start = end


def _texts(rows: Tensor, start: int, end: int, length: int, fill: int = 0) -> Tensor:
    """Return equally long texts as `(texts, h, length + fill, k)`, in the same memory."""
    return rows[start : end + fill].unfold(0, length + fill, length).mT


def _fill_mask(length: int, fill: int, dtype: torch.dtype) -> Tensor:
    """Return an additive mask of the last `fill` keys, `(length, length + fill)`."""
    row = torch.zeros(length + fill, dtype=dtype)
    row[length:] = -torch.inf
    return row.expand(length, -1)


class _Memory(threading.local):
    """Memory for the scores of a thread.

    It is kept, because glibc would return memory of this size to the system after each text, which
    takes longer than the softmax.
    """

    def __init__(self) -> None:
        with torch.inference_mode(False):  # so that it can also be used outside of this mode
            self.scores = torch.empty(_SCORES)
            self.rounded = torch.empty(_SCORES, dtype=torch.bfloat16)


_MEMORY = _Memory()


def _attend_by_products(q: Tensor, k: Tensor, v: Tensor, scale: float, out: Tensor) -> None:
    """Write `softmax(q kᵀ scale) v` of one text in bfloat16, `(n, h, k)`, to `out`.

    The softmax is in float32. Heads are taken as many at a time as the memory has room for.
    """
    n = len(out)
    q, k, v = (x.transpose(0, 1).contiguous() for x in (q, k, v))  # (h, n, k)
    step = _SCORES // n**2
    for start in range(0, len(q), step):
        part = slice(start, start + step)
        shape = (len(q[part]), n, n)
        scores, rounded = (
            memory[: math.prod(shape)].view(shape) for memory in (_MEMORY.scores, _MEMORY.rounded)
        )
        torch.baddbmm(rounded, q[part], k[part].mT, beta=0, alpha=scale, out=rounded)
        torch.softmax(scores.copy_(rounded), dim=-1, out=scores)
        out[:, part].copy_(torch.bmm(rounded.copy_(scores), v[part]).transpose(0, 1))


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
