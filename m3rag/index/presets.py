"""`presets.json`: weights that were learned for one index, by their names."""

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
    """How scores become one, as `m3rag.tuning.tune` learned it.

    Attributes:
        weights: a weight for each channel, 0 for those that do not count; may be given as for
            `M3Index.search`.
        fusion: "weighted", or "rrf", which weighs every channel that has a weight 1.
        k: the constant of reciprocal rank fusion.
        learned_from: for people: how many questions of which kind.
        min_score: the fused score below which nothing in the index answers, as `calibrate` of
            `m3rag.tuning` chose it; None if nobody did. Ranks have none.

    Raises:
        InputError: weights that are unknown or all zero, an unknown fusion, k not above 0, or
            a `min_score` that is not finite or is one of ranks.
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
                f"A preset needs a weight above 0, a fusion of {', '.join(FUSIONS)} and k above 0, "
                f"got {weights}, {self.fusion!r} and {self.k:g}."
            )
        if self.min_score is not None and (
            self.fusion != "weighted" or not math.isfinite(self.min_score)
        ):
            raise InputError(
                "min_score is a finite number, and for the fusion weighted only, got "
                f"{self.min_score!r} for {self.fusion!r}."
            )
        object.__setattr__(self, "weights", weights)


def check_name(name: str) -> str:
    """The name of a new preset.

    Raises:
        InputError: it is empty, or means something else already.
    """
    if not name.strip() or "/" in name or name in _RESERVED:
        raise InputError(
            f"A preset cannot be called {name!r}: take a word other than {', '.join(_RESERVED)}."
        )
    return name


def write_presets(location: Location, presets: Mapping[str, Preset]) -> None:
    """Replace the presets of an index atomically."""
    values = {name: asdict(preset) for name, preset in presets.items()}
    location.write(NAME, json.dumps(values, ensure_ascii=False, indent=2).encode())


def read_presets(location: Location) -> dict[str, Preset]:
    """Read the presets of an index; none if it has no such record.

    Raises:
        FormatError: The record is damaged.
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
            f"{location.label(NAME)} is damaged ({type(error).__name__}: {error}). Delete it, and "
            "learn the weights again: m3rag tune."
        ) from None


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
