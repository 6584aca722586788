"""Score matrices: every query of a slice against every passage, channel by channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from m3rag.encoding import CHANNELS
from m3rag.errors import InputError
from m3rag.evaluation.dataset import RetrievalSet
from m3rag.evaluation.slices import Level, Slice
from m3rag.scoring import (
    LEXICAL,
    PRESETS,
    Weights,
    balanced,
    parse_weights,
    reciprocal_rank_fusion,
    weighted_sum,
)
from m3rag.scoring.fusion import Floats

Aggregate = Literal["max", "sum"]
AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)

RRF = "rrf"
_SUMMED = 3  # passages of a document whose scores "sum" adds up


@dataclass(frozen=True)
class SliceScores:
    """The scores of a slice.

    Attributes:
        slice: its queries, units and passages.
        channels: for each channel float32 `(n queries, n passages)`; -inf: not in the run.
        aggregate: how passages make a page, "max" or "sum"; see `score`.
    """

    slice: Slice
    channels: Mapping[str, Floats]
    aggregate: Aggregate = "max"

    def fused(self, weights: Weights) -> Floats:
        """One score for each query and passage, `(n queries, n passages)`.

        Args:
            weights: as in `M3Index.search`; "rrf" is reciprocal rank fusion of the model's views.

        Raises:
            InputError: a channel that has a weight was not scored.
        """
        parts = channel_weights(weights)
        if missing := parts.keys() - self.channels.keys():
            raise InputError(
                f"weights {weights!r} need the channel {min(missing)}, which was not scored; "
                f"there are {', '.join(self.channels)}."
            )
        scores = {channel: self.channels[channel] for channel in parts}
        if not isinstance(weights, str) or weights != RRF:
            return weighted_sum(scores, parts)
        rows = range(len(self.slice.queries))
        return np.array(
            [reciprocal_rank_fusion({c: s[i] for c, s in scores.items()}, parts) for i in rows],
            np.float32,
        )

    def ranked(self, channel_or_weights: Weights) -> Floats:
        """One score for each query and unit, `(n queries, n units)`; -inf: not in the run.

        On a lexical channel a score of 0 means that nothing is shared: not in the run.
        """
        name = channel_or_weights
        if isinstance(name, str) and name in self.channels:
            scores = self.channels[name]
            if name in LEXICAL:
                scores = np.where(scores > 0, scores, np.float32(-np.inf))
        else:
            scores = self.fused(name)
        return aggregate(scores, self.slice, self.aggregate)


@dataclass(frozen=True)
class Scores:
    """All scores of a set: what fusions can be tried on without encoding again.

    Attributes:
        set: the set's name.
        model: the model's name.
        level: "page" or "passage".
        pooled: whether all languages' documents were ranked together.
        slices: one for each subset and language of documents.
        presets: the weights that have names.
    """

    set: str
    model: str
    level: Level
    pooled: bool
    slices: Sequence[SliceScores]
    presets: Mapping[str, Mapping[str, float]] = field(default_factory=PRESETS.copy)

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that were scored."""
        return tuple(self.slices[0].channels)

    @property
    def left_out(self) -> int:
        """How often a query had nothing relevant in a slice, and was left out there."""
        return sum(one.slice.left_out for one in self.slices)


def aggregate(scores: Floats, slice: Slice, how: Aggregate = "max") -> Floats:
    """Passages' scores `(n queries, n passages)` to units' `(n queries, n units)`.

    The best (MaxP), or the sum of the best three. A page's passages are fused first and compared
    then, as an index does that ranks passages. Source: Dai and Callan, SIGIR 2019.
    """
    if len(slice.units) == scores.shape[1]:
        return scores
    return _summed(scores, slice) if how == "sum" else _best(scores, slice)


def _summed(scores: Floats, slice: Slice) -> Floats:
    """The sum of each unit's best passages; one that is not in the run adds nothing."""
    ends = [*slice.starts[1:], scores.shape[1]]
    found = np.empty((len(scores), len(slice.units)), np.float32)
    for unit, (start, end) in enumerate(zip(slice.starts, ends, strict=True)):
        best = np.sort(scores[:, start:end], axis=1)[:, -_SUMMED:]
        found[:, unit] = np.where(best > -np.inf, best, 0).sum(axis=1)
        found[best[:, -1] == -np.inf, unit] = -np.inf
    return found


def _best(scores: Floats, slice: Slice) -> Floats:
    best = scores[:, slice.starts]
    sizes = np.diff(slice.starts, append=scores.shape[1])
    several = sizes > 1  # most pages of a usual set are one passage, and `reduceat` is slow
    if several.any():
        starts = np.cumsum(sizes[several]) - sizes[several]
        passages = scores[:, np.repeat(several, sizes)]
        best[:, several] = np.maximum.reduceat(passages, starts, axis=1)
    return best


def channel_weights(
    weights: Weights, presets: Mapping[str, Mapping[str, float]] = PRESETS
) -> dict[str, float]:
    """The channels that have a weight, with it; "rrf" gives each view of the model the same."""
    if isinstance(weights, str) and weights == RRF:
        return dict.fromkeys(CHANNELS, 1.0)
    every = parse_weights(weights, presets)
    parts = {channel: weight for channel, weight in every.items() if weight > 0}
    if not parts:
        raise InputError(f"The weights {weights!r} are all zero; at least one must be above it.")
    return parts


def balance(scores: Scores, data: RetrievalSet) -> Scores:
    """Scores without the advantage of the query's own language.

    Every channel scores passages of the query's language higher than others, relevant or not. For
    each query and channel, the scores of the passages of one language get the mean and the
    deviation that the query's scores have as a whole. Weights keep their meaning; a lexical score
    of 0 no longer says that nothing is shared, so weigh the result, and do not fuse it by ranks.
    `M3Index.search(..., balance="lang")` does the same among its candidates.

    Args:
        scores: of a corpus whose languages are ranked together (`pairs="pooled"`).
        data: the set they are of, which knows the documents' languages.
    """
    languages = {document.id: document.language for document in data.corpus}
    return replace(scores, slices=[_balanced(one, languages) for one in scores.slices])


def _balanced(one: SliceScores, languages: Mapping[str, str]) -> SliceScores:
    spoken = np.array([languages[p.document_id or p.id] for p in one.slice.passages])
    return replace(one, channels={c: balanced(s, spoken) for c, s in one.channels.items()})
