"""The named weights saved with an index, `presets.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from m3rag.errors import FormatError, InputError, StorageError
from m3rag.scoring import FUSIONS, PRESETS, Fusion, parse_weights
from m3rag.scoring.fusion import RRF_K
from m3rag.stores.base import Location
from m3rag.stores.records import pack, parse, verified

NAME = "presets.json"
_PRESETS = "presets"
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
    """Replace the presets of an index atomically.

    Raises:
        StorageError: They cannot be written; the older ones stay.
    """
    location.write(NAME, record(presets))


def record(presets: Mapping[str, Preset]) -> bytes:
    """Return the content of the file of presets."""
    return pack({_PRESETS: {name: asdict(preset) for name, preset in presets.items()}})


def read_presets(location: Location) -> dict[str, Preset]:
    """Read the presets of an index; an empty dict if none are saved.

    Raises:
        FormatError: The file is damaged.
        StorageError: It cannot be read.
    """
    try:
        content = location.read(NAME)
    except OSError as error:
        raise StorageError(
            f"{location.label(NAME)} cannot be read: {error.strerror or error}."
        ) from error
    return {} if content is None else parse_presets(content, location)


def parse_presets(content: bytes, location: Location) -> dict[str, Preset]:
    """Return the presets in the content of their file.

    Raises:
        FormatError: It is damaged.
    """
    try:
        values, checked = verified(parse(content))
        found = values[_PRESETS] if checked else values  # older versions: without a checksum
        return {
            str(name): Preset(
                weights=own["weights"],
                fusion=own["fusion"],
                k=float(own["k"]),
                learned_from=str(own["learned_from"]),
                min_score=_number(own.get("min_score")),
            )
            for name, own in found.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(
            f"{location.label(NAME)} is damaged ({type(error).__name__}: {str(error)[:200]}). "
            f"Restore it from its copy: m3rag repair --in {location}. Or delete it, and learn the "
            "weights again with m3rag tune."
        ) from None


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
