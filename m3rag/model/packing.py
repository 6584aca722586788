"""Pack and unpack the encoder of a model, given as its config and its tensors by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from m3rag.model.packed import (
    PackedTable,
    check_scales,
    pack_matrix,
    pack_table,
    unpack_matrix,
)
from m3rag.model.storage import (
    KEY,
    PACKED_TYPE,
    PLAIN_TYPE,
    POSITIONS,
    STRETCH,
    WORDS,
    Positions,
    is_matrix,
    storage_config,
    stored_positions,
)

Config = Mapping[str, Any]
Encoder = Mapping[str, Tensor]

_CODES, _SCALES = f"{WORDS}.codes", f"{WORDS}.scales"


def packed_words(encoder: Encoder) -> PackedTable | None:
    """Return the word table if it is packed."""
    return PackedTable(encoder[_CODES], encoder[_SCALES]) if _CODES in encoder else None


def pack_tables(config: Config, encoder: Encoder) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return an encoder in float16 with its word table in 4 bits and no repeated positions.

    A word table that is packed already keeps its codes.

    Raises:
        CheckpointError: The rows of the word table are not a multiple of 32 long.
    """
    config, encoder = dict(config), dict(encoder)
    if f"{WORDS}.weight" in encoder:
        words = pack_table(encoder.pop(f"{WORDS}.weight"))
        encoder |= {_CODES: words.codes, _SCALES: words.scales}
    positions = stored_positions(config)
    if positions is None:
        table = encoder[POSITIONS]
        positions = repeated_positions(table, config["pad_token_id"] + 1)
        encoder[POSITIONS] = table[: positions.stored].clone() if positions else table
    return config | {"model_type": PACKED_TYPE, KEY: storage_config(positions)}, encoder


def unpack_tables(config: Config, encoder: Encoder) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return an encoder with all rows of its word table, in float16, and of its positions."""
    encoder = dict(encoder)
    if words := packed_words(encoder):
        del encoder[_CODES], encoder[_SCALES]
        encoder[f"{WORDS}.weight"] = words.all_rows()
    if positions := stored_positions(config):
        rows = positions.rows(np.arange(config["max_position_embeddings"]))
        encoder[POSITIONS] = encoder[POSITIONS][torch.from_numpy(rows)]
    config = {key: value for key, value in config.items() if key != KEY}
    return config | {"model_type": PLAIN_TYPE}, encoder


def pack_layers(encoder: Encoder) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the tensors of a packed word table, and all others with the layers in 8 bits."""
    words, others = {}, {}
    for name, tensor in encoder.items():
        module = name.removesuffix(".weight")
        if name in (_CODES, _SCALES):
            words[name] = tensor
        elif is_matrix(name, tuple(tensor.shape)):
            others[f"{module}.codes"], others[f"{module}.scales"] = pack_matrix(tensor)
        else:
            others[name] = tensor
    return words, others


def unpack_layers(folder: Path, tensors: Encoder) -> dict[str, Tensor]:
    """Return the tensors of a packed encoder with the matrices of the layers in float16.

    Raises:
        CheckpointError: A scale is NaN, infinite or too large.
    """
    found = {}
    for name, tensor in tensors.items():
        module, _, kind = name.rpartition(".")
        if kind == "scales":
            check_scales(f"{folder}: {module}", tensor, 8 if module == WORDS else 128)
        if module == WORDS or kind not in ("codes", "scales"):
            found[name] = tensor
        elif kind == "codes":
            found[f"{module}.weight"] = unpack_matrix(tensor, tensors[f"{module}.scales"])
    return found


def repeated_positions(table: Tensor, first: int) -> Positions | None:
    """Return how a table of positions repeats itself; None if it does not.

    Args:
        table: The table, `(rows, d)`.
        first: The row of the first position.
    """
    rows = len(table)
    same = (table[first : rows - 1] == table[-1]).all(1).nonzero()
    if not len(same):
        return None
    period = rows - 1 - first - int(same[-1])
    others = (table[first + period :] != table[first : rows - period]).any(1).nonzero()
    stored = first + period + (int(others[-1]) + 1 if len(others) else 0)
    found = Positions(max(stored, -(-rows // STRETCH)), period)
    return found if found.stored <= rows // 2 else None


def sampled(
    config: Config, encoder: Encoder, count: int
) -> dict[str, tuple[tuple[int, ...], Tensor]]:
    """Return the shape of each unpacked tensor and numbers of it at regular distances, by name.

    Args:
        config: The config.
        encoder: The tensors.
        count: How many numbers of a tensor, at least, if it has as many.
    """
    found = {}
    for name, tensor in encoder.items():
        if name not in (_CODES, _SCALES):
            places = _places(tensor.numel(), count)
            found[name] = tuple(tensor.shape), tensor.reshape(-1)[places]
    if words := packed_words(encoder):
        places = _places(words.shape[0] * words.shape[1], count)
        found[f"{WORDS}.weight"] = words.shape, words.sample(places)
    if positions := stored_positions(config):
        shape = (config["max_position_embeddings"], encoder[POSITIONS].shape[1])
        places = _places(shape[0] * shape[1], count)
        rows = torch.from_numpy(positions.rows((places // shape[1]).numpy()))
        found[POSITIONS] = shape, encoder[POSITIONS][rows, places % shape[1]]
    return found


def _places(numbers: int, count: int) -> Tensor:
    return torch.arange(0, numbers, max(1, numbers // count))
