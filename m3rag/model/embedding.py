"""The word embedding of a packed model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from m3rag.model.packed import PackedTable


class PackedEmbedding(nn.Module):
    """A word table that stays in 4 bits; rows are unpacked when they are looked up.

    The table is frozen: it consists of buffers, which no optimizer changes.

    Attributes:
        codes: uint8 `(v, d / 2)`; see `PackedTable`.
        scales: float16 `(v, d / 32)`.
        dtype: The dtype of the rows.
    """

    codes: Tensor
    scales: Tensor

    def __init__(self, words: PackedTable, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("codes", words.codes)
        self.register_buffer("scales", words.scales)
        self.dtype = dtype

    def forward(self, ids: Tensor) -> Tensor:
        """Return the rows of word ids, `(…, d)` for ids `(…)`; each word is unpacked once."""
        words, places = torch.unique(ids, return_inverse=True)
        return PackedTable(self.codes, self.scales).rows(words).to(self.dtype)[places]
