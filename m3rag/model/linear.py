"""Matrix products on a CPU, by oneDNN, with weights in the order in which it reads them.

`nn.Linear` multiplies float32 with MKL, which on AMD runs at less than half of oneDNN's rate, and
puts bfloat16 weights in order again at each call, which is a third of the time of a short query
(docs/speed.md). `torch.compile` makes its products of the same two operators.
"""

from __future__ import annotations

import platform
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_BLOCK = 1024  # rows of a product whose float32 copies stay in cache: 4 MB at 1024 dimensions


class PackedLinear(nn.Module):
    """What a `nn.Linear` computes, for inference; float32 results differ in their last bits."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """`(…, inputs)` to `(…, outputs)`."""
        return product(x, self.weight, self.bias)


def product(x: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x yᵀ + bias`, of `(…, k)` and `(m, k)`; both of one type, and of one that is `packable`."""
    found = torch.ops.mkldnn._linear_pointwise(x, y, bias, "none", [], "")
    return cast("Tensor", found)


def pack(network: nn.Module, dtype: torch.dtype) -> None:
    """Replace the linear layers of a network on a CPU, one by one, where oneDNN can do it.

    Those with a single output, as BGE-M3's sparse head, stay: they are no matrix products.
    """
    if not packable(dtype):
        return
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and child.out_features > 1:
                setattr(module, name, PackedLinear(child))


def packable(dtype: torch.dtype) -> bool:
    """Whether oneDNN takes packed weights of this type here."""
    if platform.machine() not in ("x86_64", "AMD64") or not torch._C._has_mkldnn:
        return False
    bfloat16 = dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32 or bool(bfloat16)


def inner_products(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.float32]:
    """Inner products `(n, m)`, in float32, of rows `(n, d)` and `(m, d)`, m much below n.

    Sizes are rounded up to a few, as oneDNN keeps compiled code for each it has seen.
    """
    if not packable(torch.float32):
        return np.asarray(x, np.float32) @ np.asarray(y, np.float32).T
    x = x if x.flags.writeable else x.copy()  # torch warns of memory that it may not write
    columns = torch.zeros(-(-len(y) // 16) * 16, y.shape[1])
    columns[: len(y)] = torch.tensor(y)
    rows = torch.zeros(min(_BLOCK, -(-len(x) // 64) * 64), x.shape[1])
    products = np.empty((len(x), len(y)), np.float32)
    for start in range(0, len(x), _BLOCK):
        part = torch.from_numpy(x[start : start + _BLOCK])
        rows[: len(part)] = part  # torch reads float16 four times as fast as numpy
        found = product(rows, columns)
        products[start : start + _BLOCK] = found[: len(part), : len(y)].numpy()
    return products
