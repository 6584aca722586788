"""`presets.json`: weights that were learned for one index, by their names."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from m3rag.errors import FormatError, InputError
from m3rag.index.whole import write_json
from m3rag.scoring import PRESETS, parse_weights
from m3rag.scoring.fusion import RRF_K

NAME = "presets.json"
FUSIONS = ("weighted", "rrf")
_RESERVED = (*PRESETS, "rrf")


@dataclass(frozen=True, slots=True)
class Preset:
    """How scores become one, as `m3rag.evaluation.tuning.tune` learned it.

    Attributes:
        weights: a weight for each channel, 0 for those that do not count; may be given as for
            `M3Index.search`.
        fusion: "weighted", or "rrf", which weighs every channel that has a weight 1.
        k: the constant of reciprocal rank fusion.
        learned_from: for people: how many questions of which kind.
        min_score: the fused score below which nothing in the index answers, as `calibrate` of
            `m3rag.evaluation.tuning` chose it; None if nobody did. Ranks have none.

    Raises:
        InputError: weights that are unknown or all zero, an unknown fusion, k not above 0, or
            a `min_score` that is not finite or is one of ranks.
    """

    weights: Mapping[str, float]
    fusion: str = "weighted"
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


def write_presets(folder: Path, presets: Mapping[str, Preset]) -> None:
    """Put them into the folder, whole or not at all."""
    write_json(folder / NAME, {name: asdict(preset) for name, preset in presets.items()})


def read_presets(folder: Path) -> dict[str, Preset]:
    """What the folder has; nothing if it has no such file.

    Raises:
        FormatError: the file is damaged.
    """
    path = folder / NAME
    try:
        content = json.loads(path.read_bytes())
        return {
            name: Preset(
                weights=values["weights"],
                fusion=str(values["fusion"]),
                k=float(values["k"]),
                learned_from=str(values["learned_from"]),
                min_score=_number(values.get("min_score")),
            )
            for name, values in content.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{path} is damaged ({type(error).__name__}: {error}). Delete it, and learn the "
            "weights again: m3rag tune."
        ) from None


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
