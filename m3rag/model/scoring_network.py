"""The network of a cross-encoder: one forward pass from token ids of pairs to scores.

Shapes: n pairs, d the encoder's width.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import XLMRobertaConfig

from m3rag.model.backbone import Backbone, Interrupt, Units, check_finite


class ScoringHead(nn.Module):
    """The head of `XLMRobertaForSequenceClassification` with one label."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.out_proj = nn.Linear(width, 1)

    def forward(self, first: Tensor) -> Tensor:
        """Return the scores `(n,)` of the hidden states of each pair's `<s>`, `(n, d)`.

        They are computed in float32: in bfloat16, scores of 8 would be 0.06 apart.
        """
        with torch.autocast(first.device.type, enabled=False):
            wide = torch.tanh(self.dense(self.dropout(first.float())))
            scores: Tensor = self.out_proj(self.dropout(wide))[:, 0]
        return scores


class ScoringNetwork(Backbone):
    """XLM-RoBERTa with a head that scores a query and a passage in one text."""

    head_dtype: ClassVar[torch.dtype | None] = torch.float32

    def __init__(self, config: XLMRobertaConfig) -> None:
        super().__init__(config)
        self.classifier = ScoringHead(config.hidden_size, config.hidden_dropout_prob)

    def forward(self, units: Units, *, interrupt: Interrupt = None) -> NDArray[np.float32]:
        """Return the scores of pairs, float32 `(n,)`.

        Args:
            units: The tokens of each pair, a unit of its own; ordered by length.
            interrupt: Called after each of the first layers; returns whether to interrupt the pass.

        Raises:
            PassInterruptedError: `interrupt` returned True.
        """
        return np.concatenate(self.in_shares(units, self._scores, interrupt))

    def _scores(self, units: Units, interrupt: Interrupt) -> NDArray[np.float32]:
        hidden, starts = self.unit_states(units, interrupt)
        first = torch.from_numpy(starts[: len(units)])  # without that of the filler
        scores = self.classifier(hidden[first.to(self.device)])
        check_finite(scores)
        found: NDArray[np.float32] = scores.cpu().numpy()
        return found
