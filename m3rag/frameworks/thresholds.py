"""The score from which a passage counts as a result."""

from __future__ import annotations

from m3rag.errors import InputError
from m3rag.index.index import M3Index
from m3rag.limits import is_number, shown

CALIBRATED = "calibrated"


def least_score(index: M3Index, min_score: object, weights: object) -> float | None:
    """Return the lowest score of a result, for `SearchSettings.min_score`.

    Args:
        index: The index, with the weights that were saved in it.
        min_score: A number, None for no limit, or "calibrated" for the number that `m3rag tune`
            found for the weights.
        weights: The weights of the search.

    Raises:
        InputError: It is nothing of this, or the weights are not calibrated.
    """
    if min_score is None or is_number(min_score):
        return min_score
    if min_score != CALIBRATED:
        raise InputError(
            f'`min_score` must be a number, None or "{CALIBRATED}", got {shown(min_score)}.'
        )
    preset = index.presets.get(weights) if isinstance(weights, str) else None
    if preset is None or preset.min_score is None:
        known = [name for name, p in index.presets.items() if p.min_score is not None]
        raise InputError(
            f'min_score="{CALIBRATED}" needs weights that m3rag tune has calibrated for this index '
            f"(it has {', '.join(known) or 'none'}), got weights={shown(weights)}. Run m3rag tune, "
            "and pass the name it saves as `weights`."
        )
    return preset.min_score
