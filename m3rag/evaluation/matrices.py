"""Score matrices: every query of a slice against every passage, for each channel."""

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
_SUMMED = 3  # the number of a document's best passages that "sum" adds up


@dataclass(frozen=True)
class SliceScores:
    """The scores of a slice.

    Attributes:
        slice: Its queries, units and passages.
        channels: The scores on each channel, float32 `(n queries, n passages)`; -inf marks a
            passage that is not in the run.
        aggregate: How a document's score follows from its passages, "max" or "sum"; see `score`.
    """

    slice: Slice
    channels: Mapping[str, Floats]
    aggregate: Aggregate = "max"

    def fused(self, weights: Weights) -> Floats:
        """Return the fused score of each query and passage, `(n queries, n passages)`.

        Args:
            weights: As in `M3Index.search`; "rrf" is reciprocal rank fusion of the model's views.

        Raises:
            InputError: A channel with a weight was not scored.
        """
        parts = channel_weights(weights)
        if missing := parts.keys() - self.channels.keys():
            raise InputError(
                f"The weights {weights!r} need the channel {min(missing)}, which is not scored; "
                f"the scored channels are {', '.join(self.channels)}."
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
        """Return the score of each query and unit, `(n queries, n units)`.

        -inf marks a unit that is not in the run. On a lexical channel, this includes units with a
        score of 0, which share no token with the query.

        Args:
            channel_or_weights: The name of a channel, or weights as in `fused`.

        Raises:
            InputError: A channel with a weight was not scored.
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
    """All scores of a set, on which you can try any fusion without encoding again.

    Attributes:
        set: The name of the set.
        model: The name of the model.
        level: "document" or "passage".
        pooled: Whether the documents of all languages were ranked together.
        slices: One for each subset and language of documents.
        presets: The weights of each preset, by name.
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
        """How often a query had nothing relevant in a slice and was left out there."""
        return sum(scored.slice.left_out for scored in self.slices)


def aggregate(scores: Floats, slice: Slice, how: Aggregate = "max") -> Floats:
    """Turn the scores of passages, `(n queries, n passages)`, into those of units.

    A unit scores as its best passage (MaxP), or as the sum of its best three. The scores of a
    document's passages are fused before they are compared, as in an index that ranks passages.

    Source: Dai and Callan, SIGIR 2019.

    Args:
        scores: The scores of the passages.
        slice: The slice that they belong to.
        how: "max" or "sum".

    Returns:
        The scores of the units, `(n queries, n units)`.
    """
    if len(slice.units) == scores.shape[1]:
        return scores
    return _summed(scores, slice) if how == "sum" else _best(scores, slice)


def _summed(scores: Floats, slice: Slice) -> Floats:
    """Return the sum of each unit's best passages; one that is not in the run adds nothing."""
    ends = [*slice.starts[1:], scores.shape[1]]
    sums = np.empty((len(scores), len(slice.units)), np.float32)
    for unit, (start, end) in enumerate(zip(slice.starts, ends, strict=True)):
        best = np.sort(scores[:, start:end], axis=1)[:, -_SUMMED:]
        sums[:, unit] = np.where(best > -np.inf, best, 0).sum(axis=1)
        sums[best[:, -1] == -np.inf, unit] = -np.inf
    return sums


def _best(scores: Floats, slice: Slice) -> Floats:
    """Return the score of each unit's best passage."""
    best = scores[:, slice.starts]
    sizes = np.diff(slice.starts, append=scores.shape[1])
    several = sizes > 1  # most documents of a usual set are one passage, and `reduceat` is slow
    if several.any():
        starts = np.cumsum(sizes[several]) - sizes[several]
        passages = scores[:, np.repeat(several, sizes)]
        best[:, several] = np.maximum.reduceat(passages, starts, axis=1)
    return best


def channel_weights(
    weights: Weights, presets: Mapping[str, Mapping[str, float]] = PRESETS
) -> dict[str, float]:
    """Return the weights above 0, by channel; "rrf" gives every view of the model the same.

    Raises:
        InputError: The weights are invalid or all zero.
    """
    if isinstance(weights, str) and weights == RRF:
        return dict.fromkeys(CHANNELS, 1.0)
    parts = {c: weight for c, weight in parse_weights(weights, presets).items() if weight > 0}
    if not parts:
        raise InputError(f"The weights {weights!r} are all zero; at least one must be above 0.")
    return parts


def balance(scores: Scores, data: RetrievalSet) -> Scores:
    """Remove the advantage that passages in the query's own language have.

    Every channel scores passages in the query's language higher than others, relevant or not. For
    each query and channel, this shifts and scales the scores of the passages in each language to
    the mean and the standard deviation of all scores of the query. Weights keep their meaning. A
    lexical score of 0 no longer means that no token is shared, so use weighted sums of the result
    and not reciprocal rank fusion. `M3Index.search(..., balance="lang")` does the same among its
    candidates.

    Args:
        scores: Scores of a corpus whose languages are ranked together (`pairs="pooled"`).
        data: The set that the scores belong to; it has the languages of the documents.
    """
    languages = {document.id: document.language for document in data.corpus}
    return replace(scores, slices=[_balanced(scored, languages) for scored in scores.slices])


def _balanced(scored: SliceScores, languages: Mapping[str, str]) -> SliceScores:
    groups = np.array([languages[p.document_id or p.id] for p in scored.slice.passages])
    return replace(scored, channels={c: balanced(s, groups) for c, s in scored.channels.items()})
