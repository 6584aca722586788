"""How the tensors of a packed model are stored: the key "m3rag" of its `config.json`.

    "m3rag": {"format": 1, "stored_positions": 514, "position_period": 480}

The `model_type` is another one than BGE-M3's: transformers would otherwise load such a folder with
random words and layers, and only warn. Format 1 has the word table in 4 bits and the matrices of
the layers in 8 bits, each as codes and scales (`m3rag.model.packed`); everything else is
floating-point. The two other values are there if the table of positions repeats itself and only its
beginning is stored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3rag.errors import CheckpointError
from m3rag.model.modelfiles import shortened
from m3rag.model.pickled import TensorInfo

KEY = "m3rag"
PLAIN_TYPE, PACKED_TYPE = "xlm-roberta", "m3rag-packed"
BLOCK = 32
"""The numbers of a row of the word table that share a scale."""

WORDS = "embeddings.word_embeddings"
POSITIONS = "embeddings.position_embeddings.weight"

STRETCH = 64
"""How many times as long as its stored part a table of positions can be."""

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Positions:
    """A table of positions of which only the first rows are stored.

    Attributes:
        stored: The stored rows.
        period: Each further row is equal to the one that is `period` rows before it.
    """

    stored: int
    period: int

    def rows(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the stored row of each position."""
        first = self.stored - self.period
        within = first + (positions - first) % self.period
        return np.where(positions < self.stored, positions, within)

    def config(self) -> dict[str, int]:
        """Return the values for `config.json`."""
        return {"stored_positions": self.stored, "position_period": self.period}


def check_storage(path: Path, config: Mapping[str, Any]) -> None:
    """Check the key "m3rag" of a `config.json` whose sizes are checked already.

    Raises:
        CheckpointError: It is damaged, or the model was packed by a newer m3rag.
    """
    if KEY not in config:
        return
    found = config[KEY]
    number = found.get("format") if isinstance(found, dict) else None
    if type(number) is not int or number < 1:
        raise _wrong(path, found, 'it must be an object with a number "format"')
    if number > _FORMAT:
        raise CheckpointError(
            f"{path}: this model is packed in format {shortened(number)}; this m3rag reads formats "
            f'up to {_FORMAT}. Upgrade m3rag: pip install --upgrade "m3rag".'
        )
    if config["hidden_size"] % BLOCK:
        width = config["hidden_size"]
        raise _wrong(path, found, f"hidden_size is {width}, not a multiple of {BLOCK}")
    stored, period = found.get("stored_positions"), found.get("position_period")
    if stored is None and period is None:
        return
    rows, first = config["max_position_embeddings"], config["pad_token_id"] + 1
    if type(stored) is not int or not first < stored <= rows <= STRETCH * stored:
        raise _wrong(
            path, found, f"stored_positions must be above {first} and, of {rows:,}, at least a 64th"
        )
    if type(period) is not int or not 1 <= period <= stored - first:
        raise _wrong(path, found, f"position_period must be from 1 to {stored - first}")


def storage_config(positions: Positions | None) -> dict[str, Any]:
    """Return the value of the key "m3rag" for a packed model."""
    return {"format": _FORMAT, **(positions.config() if positions else {})}


def stored_positions(config: Mapping[str, Any]) -> Positions | None:
    """Return which positions a model stores; None if it stores all."""
    found = config.get(KEY, {})
    if "stored_positions" not in found:
        return None
    return Positions(found["stored_positions"], found["position_period"])


def packed_tensors(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, TensorInfo]:
    """Return the names, dtypes and shapes of all codes and scales of a packed encoder.

    Args:
        shapes: The shapes of the encoder's plain tensors by name.
    """
    found = {}
    for name, shape in shapes.items():
        module = name.removesuffix(".weight")
        if module == WORDS:
            rows, width = shape
            found[f"{module}.codes"] = TensorInfo("uint8", (rows, width // 2))
            found[f"{module}.scales"] = TensorInfo("float16", (rows, width // BLOCK))
        elif is_matrix(name, shape):
            found[f"{module}.codes"] = TensorInfo("int8", shape)
            scales = (shape[0], shape[1] // block(shape[1]))
            found[f"{module}.scales"] = TensorInfo("float32", scales)
    return found


def block(columns: int) -> int:
    """Return how many numbers of a matrix's row share a scale: 64, or fewer if that divides no row.

    With a scale per row, the error of "small" was larger than that of computing in bfloat16: its
    dense scores were off by 0.0014 (standard deviation) instead of 0.0007.
    """
    return math.gcd(columns, 64)


def is_matrix(name: str, shape: tuple[int, ...]) -> bool:
    """Return whether a tensor is a matrix of a layer, which is stored in 8 bits."""
    return name.startswith("encoder.") and len(shape) == 2


def _wrong(path: Path, found: object, problem: str) -> CheckpointError:
    return CheckpointError(
        f'{path} has "{KEY}": {shortened(found)}: {problem}. Take config.json from the original '
        "model."
    )
