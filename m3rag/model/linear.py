"""Matrix products on a CPU, by oneDNN, with weights in the order in which it reads them.

`nn.Linear` multiplies float32 with MKL, which on AMD runs at less than half of oneDNN's rate, and
puts bfloat16 weights in order again at each call, which is a third of the time of a short query
(docs/speed.md). `torch.compile` makes its products of the same two operators.
"""

from __future__ import annotations

import platform
from typing import cast

import torch
from torch import Tensor, nn


class PackedLinear(nn.Module):
    """What a `nn.Linear` computes, for inference; float32 results differ in their last bits."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """`(…, inputs)` to `(…, outputs)`."""
        product = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return cast("Tensor", product)


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
