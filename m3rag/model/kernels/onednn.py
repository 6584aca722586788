"""Matrix products by oneDNN on a CPU, with weights stored in the order in which it reads them.

`nn.Linear` multiplies float32 with MKL, which on AMD runs at less than half of oneDNN's rate. It
also reorders bfloat16 weights at each call, which takes a third of the time of a short query
(benchmarks/speed-notes.md). `torch.compile` uses the same two operators for its products.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from m3rag.model.kernels.device import packable

_MAX_BLOCK = 1024  # rows of a product whose float32 copies stay in cache: 4 MB at 1024 dimensions
_MIN_BLOCK = 64  # rows to which the last block of a product is padded


class PackedLinear(nn.Module):
    """Several `nn.Linear` with concatenated outputs, for inference.

    In float32, the last bits differ from those of `nn.Linear`. With `gelu`, the same operation also
    applies the exact GELU, and it can add a residual; each saves a pass over memory.
    """

    def __init__(self, *linears: nn.Linear, gelu: bool = False) -> None:
        super().__init__()
        weight = torch.cat([linear.weight.detach() for linear in linears])
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight)
        self.bias = torch.cat([linear.bias.detach() for linear in linears])
        self.activation = ("gelu", "none") if gelu else ("none", "")  # name, algorithm

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Map `(…, inputs)` to `(…, outputs)`; `residual` is added to them, without a GELU."""
        if residual is not None:
            add = torch.ops.mkldnn._linear_pointwise.binary
            return cast("Tensor", add(x, residual, self.weight, self.bias, "add"))
        name, algorithm = self.activation
        y = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, name, [], algorithm)
        return cast("Tensor", y)


def product(x: Tensor, y: Tensor) -> Tensor:
    """Return `x yᵀ` for `(…, k)` and `(m, k)`, both of the same `packable` dtype."""
    return cast("Tensor", torch.ops.mkldnn._linear_pointwise(x, y, None, "none", [], ""))


def inner_products(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the inner products of rows `(n, d)` and `(m, d)` as float32 `(n, m)`.

    It is meant for m much smaller than n. Sizes are rounded up to a few different ones, because
    oneDNN keeps compiled code for each size.
    """
    if not packable(torch.float32):
        return np.asarray(x, np.float32) @ np.asarray(y, np.float32).T
    x = x if x.flags.writeable else x.copy()  # torch warns about read-only memory
    columns = torch.zeros(-(-len(y) // 16) * 16, y.shape[1])
    columns[: len(y)] = torch.tensor(y)
    products = np.empty((len(x), len(y)), np.float32)
    for start, size in _blocks(len(x)):
        part = torch.from_numpy(x[start : start + size])
        if len(part) < size:
            part = torch.cat([part, part.new_zeros(size - len(part), x.shape[1])])
        block = product(part.float(), columns)  # torch converts float16 four times as fast as numpy
        products[start : start + size] = block.numpy()[: len(x) - start, : len(y)]
    return products


def _blocks(rows: int) -> Iterator[tuple[int, int]]:
    """Yield the (start, size) of blocks that cover all rows.

    Sizes are powers of two and never increase. The last block may end after the last row.
    """
    start, size = 0, _MAX_BLOCK
    while start < rows:
        while size > _MIN_BLOCK and size > rows - start:
            size //= 2
        yield start, size
        start += size
