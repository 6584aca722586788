"""The named weights saved with an index, `presets.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from m3rag.errors import FormatError, InputError
from m3rag.scoring import FUSIONS, PRESETS, Fusion, parse_weights
from m3rag.scoring.fusion import RRF_K
from m3rag.stores.base import Location

NAME = "presets.json"
_RESERVED = (*PRESETS, "rrf")


@dataclass(frozen=True, slots=True)
class Preset:
    """Weights and a fusion, as learned by `m3rag.tuning.tune`.

    Attributes:
        weights: The weight of each channel, 0 for channels that do not count; accepts the same
            forms as `M3Index.search`.
        fusion: "weighted", or "rrf", which gives every channel with a weight the weight 1.
        k: The constant of reciprocal rank fusion.
        learned_from: A note for people: the number and kind of the labelled queries.
        min_score: The fused score below which a passage does not answer a question, as chosen by
            `m3rag.tuning.calibrate`; None if not calibrated, and for "rrf".

    Raises:
        InputError: The weights are unknown or all zero, the fusion is unknown, `k` is not above 0,
            or `min_score` is not finite or is set for "rrf".
    """

    weights: Mapping[str, float]
    fusion: Fusion = "weighted"
    k: float = RRF_K
    learned_from: str = ""
    min_score: float | None = None

    def __post_init__(self) -> None:
        weights = parse_weights(self.weights)
        if not any(weights.values()) or self.fusion not in FUSIONS or not self.k > 0:
            raise InputError(
                f"A preset needs a weight above 0, a fusion ({' or '.join(FUSIONS)}) and a k above "
                f"0, got {weights}, {self.fusion!r} and {self.k:g}."
            )
        if self.min_score is not None and (
            self.fusion != "weighted" or not math.isfinite(self.min_score)
        ):
            raise InputError(
                '`min_score` must be a finite number and needs the fusion "weighted", got '
                f"{self.min_score!r} for {self.fusion!r}."
            )
        object.__setattr__(self, "weights", weights)


def check_name(name: str) -> str:
    """Return the name of a new preset after checking it.

    Raises:
        InputError: The name is empty, contains "/", or is reserved.
    """
    if not name.strip() or "/" in name or name in _RESERVED:
        raise InputError(
            f"A preset cannot be named {name!r}. Choose a name without / other than "
            f"{', '.join(_RESERVED)}."
        )
    return name


def write_presets(location: Location, presets: Mapping[str, Preset]) -> None:
    """Replace the presets of an index atomically."""
    values = {name: asdict(preset) for name, preset in presets.items()}
    location.write(NAME, json.dumps(values, ensure_ascii=False, indent=2).encode())


def read_presets(location: Location) -> dict[str, Preset]:
    """Read the presets of an index; an empty dict if none are saved.

    Raises:
        FormatError: The file is damaged.
    """
    try:
        content = location.read(NAME)
        if content is None:
            return {}
        return {
            name: Preset(
                weights=values["weights"],
                fusion=values["fusion"],
                k=float(values["k"]),
                learned_from=str(values["learned_from"]),
                min_score=_number(values.get("min_score")),
            )
            for name, values in json.loads(content).items()
        }
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{location.label(NAME)} is damaged ({type(error).__name__}: {error}). Delete it and "
            "learn the weights again with m3rag tune."
        ) from None


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
