"""The network of M3: one forward pass from token ids to views.

Shapes: n texts, T tokens of all texts, d the encoder's width, c the ColBERT width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn
from transformers import XLMRobertaConfig

from m3rag.model.backbone import Backbone, Interrupt, Units, check_finite
from m3rag.model.checkpoint import Checkpoint
from m3rag.model.kernels.onednn import PackedLinear


@dataclass(frozen=True, slots=True)
class Views:
    """The views of n packed texts, on the CPU.

    Attributes:
        dense: float32 `(n, d)`.
        weights: float32 `(T,)`. One weight per token.
        colbert: `(T - number of <s>, c)`; None if it was not requested.
    """

    dense: NDArray[np.float32]
    weights: NDArray[np.float32]
    colbert: NDArray[np.floating] | None


class M3Network(Backbone):
    """XLM-RoBERTa with BGE-M3's sparse and ColBERT heads; the dense vector needs no head."""

    def __init__(self, config: XLMRobertaConfig, colbert_dim: int) -> None:
        super().__init__(config)
        self.sparse_linear = nn.Linear(config.hidden_size, 1)
        self.colbert_linear: nn.Module = nn.Linear(config.hidden_size, colbert_dim)

    @classmethod
    def _empty(cls, config: XLMRobertaConfig, checkpoint: Checkpoint) -> Self:
        return cls(config, len(checkpoint.heads["colbert_linear"]["weight"]))

    def pack(self) -> None:
        """Replace the layers by the fastest ones for this CPU, which cannot be trained."""
        super().pack()
        if self.packed:
            self.colbert_linear = PackedLinear(cast("nn.Linear", self.colbert_linear))

    def forward(self, units: Units, *, colbert: bool, interrupt: Interrupt = None) -> Views:
        """Encode units of texts.

        The dense vector of a text is the normalised mean of the hidden states of all its `<s>`. The
        positions of a unit continue from text to text.

        Args:
            units: The tokens of the texts of each unit, ordered by length.
            colbert: Whether to compute the ColBERT vectors.
            interrupt: Called after each of the first layers; returns whether to interrupt the pass.

        Raises:
            PassInterruptedError: `interrupt` returned True.
        """
        parts = self.in_shares(units, partial(self._views, colbert), interrupt)
        if len(parts) == 1:
            return parts[0]
        return Views(
            np.concatenate([views.dense for views in parts]),
            np.concatenate([views.weights for views in parts]),
            np.concatenate([views.colbert for views in parts]) if colbert else None,
        )

    def _views(self, colbert: bool, units: Units, interrupt: Interrupt) -> Views:
        texts = [tokens for unit in units for tokens in unit]
        lengths = np.array([len(tokens.ids) for tokens in texts])  # (n,)
        total, starts = int(lengths.sum()), np.cumsum(lengths) - lengths  # T, (n,)
        hidden, _ = self.unit_states(units, interrupt)
        device = hidden.device

        cls = np.concatenate([a + np.array(t.cls) for a, t in zip(starts, texts, strict=True)])
        owner = np.repeat(np.arange(len(texts)), [len(tokens.cls) for tokens in texts])
        sums = hidden.new_zeros(len(texts), hidden.shape[1], dtype=torch.float32)
        sums.index_add_(0, torch.from_numpy(owner).to(device), hidden[cls].float())
        dense = F.normalize(sums, dim=-1)  # (n, d); a normalised sum equals the normalised mean
        weights = torch.relu(self.sparse_linear(hidden)).float()[:total, 0]  # (T,)
        if not colbert:
            check_finite(dense, weights)
            return Views(dense.cpu().numpy(), weights.cpu().numpy(), None)
        vectors = F.normalize(self.colbert_linear(hidden).float(), dim=-1)  # (T, c)
        content = torch.from_numpy(np.delete(np.arange(total), cls))  # all tokens but the <s>
        vectors = vectors[content.to(device)]  # (T - number of <s>, c)
        if self.dtype != torch.float32:
            vectors = vectors.half()  # finer than bfloat16, with half the memory of float32
        check_finite(dense, weights, vectors)
        return Views(dense.cpu().numpy(), weights.cpu().numpy(), vectors.cpu().numpy())


def sparse_rows(
    ids: NDArray[np.int64], weights: NDArray[np.float32], unweighted: Sequence[int]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return one text's ids and the highest weight of each, without special tokens and zeros."""
    keep = (weights > 0) & ~np.isin(ids, unweighted)
    ids, weights = ids[keep], weights[keep]
    order = np.argsort(ids, kind="stable")
    unique, starts = np.unique(ids[order], return_index=True)
    if len(unique) == 0:
        return np.empty(0, np.int32), np.empty(0, np.float32)
    return unique.astype(np.int32), np.maximum.reduceat(weights[order], starts)
