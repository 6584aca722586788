"""An encoder layer for inference on a CPU: four matrix products, attention and two norms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from transformers.activations import GELUActivation
from transformers.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaLayer

from m3rag.model.kernels.attention import attend
from m3rag.model.kernels.onednn import PackedLinear


class PackedLayer(nn.Module):
    """An `XLMRobertaLayer` for packed rows, with fewer operations.

    Query, key and value are one product; the GELU and the sums are parts of others. With a short
    query, the time goes into reading the weights from memory, and each further operation makes all
    threads wait measurably longer (benchmarks/speed-notes.md).
    """

    def __init__(self, layer: XLMRobertaLayer) -> None:
        super().__init__()
        attention = layer.attention
        activation: nn.Module = layer.intermediate.intermediate_act_fn
        gelu = isinstance(activation, GELUActivation)
        self.num_heads, self.scale = attention.self.num_attention_heads, attention.self.scaling
        self.qkv = PackedLinear(attention.self.query, attention.self.key, attention.self.value)
        self.attention_output = PackedLinear(attention.output.dense)
        self.attention_norm = attention.output.LayerNorm
        self.up = PackedLinear(layer.intermediate.dense, gelu=gelu)
        self.activation = nn.Identity() if gelu else activation
        self.down = PackedLinear(layer.output.dense)
        self.norm = layer.output.LayerNorm

    def forward(self, hidden: Tensor, _mask: None, *, runs: Sequence[tuple[int, int]]) -> Tensor:
        """Map `(1, T, d)` to `(1, T, d)`; `runs` are as in `attend`."""
        rows = hidden[0]
        q, k, v = self.qkv(rows).unflatten(-1, (3, self.num_heads, -1)).unbind(1)  # (T, h, k)
        attended = attend(q, k, v, runs=runs, scale=self.scale).flatten(1)
        rows = self.attention_norm(self.attention_output(attended, rows))
        wide = self.activation(self.up(rows))
        return cast("Tensor", self.norm(self.down(wide, rows)))[None]
