"""Weights in 4 and 8 bits: numbers are integer codes times a scale.

A packed number stands for its product rounded to float16, wherever it is unpacked. So a packed
model and its float16 copy have the same weights, not only similar ones.

Shapes: v rows of the word table, d numbers of a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from m3rag.errors import CheckpointError
from m3rag.model.storage import BLOCK, block

_ROWS = 8192  # of a table at a time; their float32 numbers take 12 MB at 384 dimensions
_LARGEST = torch.finfo(torch.float16).max


@dataclass(frozen=True, slots=True)
class PackedTable:
    """A word table of 4-bit codes; this is ggml's Q4_0 in another order.

    The number at an even dimension is `(low 4 bits - 8) * scale`, that at the next dimension
    `(high 4 bits - 8) * scale`.

    Attributes:
        codes: uint8 `(v, d / 2)`, two codes a byte.
        scales: float16 `(v, d / 32)`.
    """

    codes: Tensor
    scales: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the table, `(v, d)`."""
        return self.codes.shape[0], self.codes.shape[1] * 2

    def rows(self, ids: Tensor) -> Tensor:
        """Return the rows of some words, `(…, d)` in float16 for ids `(…)`."""
        return _products(self.codes[ids], self.scales[ids])

    def all_rows(self) -> Tensor:
        """Return the whole table in float16, `(v, d)`."""
        table = torch.empty(self.shape, dtype=torch.float16)
        for start in range(0, len(table), _ROWS):
            part = slice(start, start + _ROWS)
            table[part] = _products(self.codes[part], self.scales[part])
        return table

    def sample(self, places: Tensor) -> Tensor:
        """Return the numbers at some places of the flattened table, `(n,)` in float16."""
        row, column = places // self.shape[1], places % self.shape[1]
        code = self.codes[row, column // 2] >> (column % 2 * 4) & 15
        return _times(code, self.scales[row, column // BLOCK])


def pack_table(table: Tensor) -> PackedTable:
    """Return a word table `(v, d)` in 4 bits.

    The number of a block that is farthest from 0 gets the code 0, as in ggml. A table that was
    unpacked from Q4_0 therefore gets its own codes and scales back.

    Raises:
        CheckpointError: A row is not made of blocks of 32, or a number is too large for float16.
    """
    if table.shape[1] % BLOCK:
        raise CheckpointError(
            f"hidden_size is {table.shape[1]}; a packed word table needs a multiple of {BLOCK}. "
            "Save the model unpacked."
        )
    codes = torch.empty(len(table), table.shape[1] // 2, dtype=torch.uint8)
    scales = torch.empty(len(table), table.shape[1] // BLOCK, dtype=torch.float16)
    for start in range(0, len(table), _ROWS):
        part = slice(start, start + _ROWS)
        blocks = table[part].float().view(-1, scales.shape[1], BLOCK)  # (rows, d / 32, 32)
        farthest = blocks.abs().argmax(-1, keepdim=True)
        scale = (blocks.gather(-1, farthest) / -8).half() + 0  # no -0
        inverse = torch.where(scale == 0, 0, 1 / scale.float())
        code = (blocks * inverse + 8.5).floor().clamp(0, 15).to(torch.uint8).flatten(1)
        codes[part] = code[:, ::2] | code[:, 1::2] << 4
        scales[part] = scale[..., 0]
    check_scales("embeddings.word_embeddings", scales, 8)
    return PackedTable(codes, scales)


def pack_matrix(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return a matrix in 8 bits: int8 codes `(rows, columns)`, float32 scales `(rows, blocks)`.

    Packing what was unpacked gives the same codes and scales: the largest number of a block comes
    back exactly. With scales in float16 it would not.
    """
    blocks = weight.half().float().view(len(weight), -1, block(weight.shape[1]))
    scales = blocks.abs().amax(-1) / 127
    inverse = torch.where(scales == 0, 0, 1 / scales)
    codes = (blocks * inverse[..., None]).round().clamp(-127, 127).to(torch.int8)
    return codes.flatten(1), scales


def unpack_matrix(codes: Tensor, scales: Tensor) -> Tensor:
    """Return the float16 matrix of int8 codes `(rows, columns)` and scales `(rows, blocks)`."""
    blocks = codes.view(*scales.shape, -1).float()
    return (blocks * scales[..., None]).half().flatten(1)


def check_scales(name: str, scales: Tensor, highest: int) -> None:
    """Check that scales are finite, and so small that no number leaves float16.

    Args:
        name: The tensor, for the message.
        scales: The scales.
        highest: The largest code.

    Raises:
        CheckpointError: A scale is not.
    """
    largest = scales.float().abs().amax().item() if scales.numel() else 0.0  # NaN stays NaN
    if not largest * highest <= _LARGEST:
        raise CheckpointError(
            f"{name} has a scale of {largest:.6g}; at most {_LARGEST / highest:,.0f} is possible. "
            "The file is damaged, or the training run that wrote it diverged; download or export "
            "the checkpoint again."
        )


def _products(codes: Tensor, scales: Tensor) -> Tensor:
    """Return `(…, d)` in float16 for codes `(…, d / 2)` and scales `(…, d / 32)`."""
    pairs = torch.stack([codes & 15, codes >> 4], -1)  # (…, d / 2, 2)
    blocks = pairs.view(*scales.shape, BLOCK)  # (…, d / 32, 32)
    return _times(blocks, scales[..., None]).flatten(-2)


def _times(codes: Tensor, scales: Tensor) -> Tensor:
    return ((codes.float() - 8) * scales.float()).half()
