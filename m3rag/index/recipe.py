"""Which channels a search uses, and for what.

Without `channels`, those with a weight above zero are scored. With `channels`, exactly those are,
and a hit reports all of them, also the ones without weight. Of the scored channels

* those with a weight count in the fused score; if none has one, each counts 1;
* those that count, colbert aside, propose candidates. ColBERT reranks what others propose;
  if it alone counts, the other scored channels propose; if it alone is scored, it is computed
  for every passage of the index, which is exact and slow.

Presets are weights of scores. Under reciprocal rank fusion, which knows ranks only, a preset
weighs every channel that it scores 1; weights given as numbers are used as they are. A preset that
`tune` saved brings its own fusion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from m3rag.errors import InputError
from m3rag.index.presets import FUSIONS, Preset
from m3rag.scoring import PRESETS, SCORED, Weights, parse_weights
from m3rag.scoring.fusion import RRF_K


@dataclass(frozen=True, slots=True)
class Recipe:
    """The channels of a search.

    Attributes:
        weights: the channels that count, all above zero.
        scored: the channels that a hit reports.
        proposing: the channels that propose candidates.
        fusion: "weighted" or "rrf".
        k: the constant of "rrf".
    """

    weights: dict[str, float]
    scored: tuple[str, ...]
    proposing: tuple[str, ...]
    fusion: str
    k: float = RRF_K


def choose(
    weights: Weights,
    fusion: str,
    channels: Sequence[str] | None,
    available: Sequence[str],
    presets: Mapping[str, Preset],
) -> Recipe:
    """The recipe for a search's arguments in an index with these channels and presets.

    Raises:
        InputError: unknown or unavailable channels, or nothing that counts.
    """
    if fusion not in FUSIONS:
        raise InputError(f'No fusion is called {fusion!r}; there are "weighted" and "rrf".')
    every = parse_weights(weights, PRESETS | {name: p.weights for name, p in presets.items()})
    preset = isinstance(weights, str)
    own = presets.get(weights) if isinstance(weights, str) else None
    if own is not None and own.fusion == "rrf":
        fusion = "rrf"
    if channels is None:
        scored = tuple(c for c in SCORED if every[c] > 0 and (c in available or not preset))
        if not scored:
            raise InputError(f"All weights are zero: {weights!r}. Give one channel a weight.")
    else:
        scored = _named(channels)
    missing = [c for c in scored if c not in available]
    if missing:
        raise InputError(
            f"This index has no {missing[0]} vectors; it has {', '.join(available)}. Leave "
            f'{missing[0]} out, or index again with colbert="stored".'
        )
    counted = {c: every[c] for c in scored if every[c] > 0}
    if not counted or (preset and fusion == "rrf"):
        counted = dict.fromkeys(scored, 1.0)
    proposing = [c for c in counted if c != "colbert"] or [c for c in scored if c != "colbert"]
    k = own.k if own is not None else RRF_K
    return Recipe(counted, scored, tuple(proposing) or ("colbert",), fusion, k)


def _named(channels: Sequence[str]) -> tuple[str, ...]:
    if isinstance(channels, str) or not channels:
        raise InputError(f'channels is a list such as ["dense", "sparse"], got {channels!r}.')
    unknown = [c for c in channels if c not in SCORED]
    if unknown:
        raise InputError(f"No channel is called {unknown[0]!r}; there are {', '.join(SCORED)}.")
    return tuple(c for c in SCORED if c in channels)
