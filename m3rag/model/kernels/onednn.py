"""Matrix products on a CPU, by oneDNN, with weights in the order in which it reads them.

`nn.Linear` multiplies float32 with MKL, which on AMD runs at less than half of oneDNN's rate, and
puts bfloat16 weights in order again at each call, which is a third of the time of a short query
(docs/speed.md). `torch.compile` makes its products of the same two operators.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from m3rag.model.kernels.device import packable

_BLOCK = 1024  # rows of a product whose float32 copies stay in cache: 4 MB at 1024 dimensions
_LEAST = 64  # rows to which the last ones of a product are filled up


class PackedLinear(nn.Module):
    """What `nn.Linear`s side by side compute, for inference; float32 differs in its last bits.

    With `gelu`, the exact GELU of it: in the same operation, which spares a pass over memory.
    """

    def __init__(self, *linear: nn.Linear, gelu: bool = False) -> None:
        super().__init__()
        weight = torch.cat([one.weight.detach() for one in linear])
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight)
        self.bias = torch.cat([one.bias.detach() for one in linear])
        self.then = ("gelu", "none") if gelu else ("none", "")

    def forward(self, x: Tensor) -> Tensor:
        """`(…, inputs)` to `(…, outputs)`."""
        name, kind = self.then
        found = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, name, [], kind)
        return cast("Tensor", found)


def product(x: Tensor, y: Tensor) -> Tensor:
    """`x yᵀ`, of `(…, k)` and `(m, k)`; both of one type, and of one that is `packable`."""
    return cast("Tensor", torch.ops.mkldnn._linear_pointwise(x, y, None, "none", [], ""))


def inner_products(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.float32]:
    """Inner products `(n, m)`, in float32, of rows `(n, d)` and `(m, d)`, m much below n.

    Sizes are rounded up to a few, as oneDNN keeps compiled code for each it has seen.
    """
    if not packable(torch.float32):
        return np.asarray(x, np.float32) @ np.asarray(y, np.float32).T
    x = x if x.flags.writeable else x.copy()  # torch warns of memory that it may not write
    columns = torch.zeros(-(-len(y) // 16) * 16, y.shape[1])
    columns[: len(y)] = torch.tensor(y)
    products = np.empty((len(x), len(y)), np.float32)
    for start, size in _blocks(len(x)):
        part = torch.from_numpy(x[start : start + size])
        if len(part) < size:
            part = torch.cat([part, part.new_zeros(size - len(part), x.shape[1])])
        found = product(part.float(), columns)  # torch reads float16 four times as fast as numpy
        products[start : start + size] = found.numpy()[: len(x) - start, : len(y)]
    return products


def _blocks(rows: int) -> Iterator[tuple[int, int]]:
    """(start, size) of blocks of so many rows, each half as long as the one before or the same."""
    start, size = 0, _BLOCK
    while start < rows:
        while size > _LEAST and size > rows - start:
            size //= 2
        yield start, size
        start += size
