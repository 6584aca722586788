"""Exact scores of every query with every passage of its slice, channel by channel.

No index takes part: what is measured is the model and the fusion, not an engine's approximation.
Passages are encoded a block at a time and forgotten, so that memory is the scores' (4 bytes for
each query, passage and channel), the queries' views and one block's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from m3rag.documents import Passage
from m3rag.errors import InputError
from m3rag.evaluation.baseline import bm25_scores
from m3rag.evaluation.data import RetrievalSet
from m3rag.evaluation.maxsim import maxsim
from m3rag.evaluation.slices import Pairs, Slice, Splitter, cut
from m3rag.extras import require
from m3rag.model import Encoding, M3Model
from m3rag.model.encoding import CHANNELS
from m3rag.scoring import (
    LEXICAL,
    PRESETS,
    SCORED,
    Weights,
    dense_scores,
    parse_weights,
    reciprocal_rank_fusion,
    sparse_scores,
    weighted_sum,
)
from m3rag.scoring.fusion import Floats

Progress = Callable[[str, int, int], object]
"""Called with what is being done, how much of it is done, and how much there is."""

RRF = "rrf"
LONG = ("passages", "context", "mcls")
AGGREGATES = ("max", "sum")
_SUMMED = 3  # passages of a page whose scores "sum" adds up
_MCLS = 256  # tokens between two <s>, as in the paper
_BLOCK = 128  # passages encoded and scored together
_QUERIES = 512  # queries encoded together


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
    aggregate: str = "max"

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
    level: str
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


def score(
    model: M3Model,
    data: RetrievalSet,
    *,
    channels: Sequence[str] = SCORED,
    pairs: Pairs = "all",
    level: str = "page",
    every: int = 1,
    max_tokens: int = 512,
    overlap: int = 64,
    long: str = "passages",
    aggregate: str = "max",
    progress: Progress | None = None,
) -> Scores:
    """Score every query of a set with every passage of its slice.

    Args:
        model: what encodes.
        data: the set.
        channels: of "dense", "sparse", "colbert" and "bm25".
        pairs: "all" slices the corpus by language; "pooled" ranks it as a whole; or pairs such as
            `["es-en"]`, query language first.
        level: "page" ranks documents by their best passage, "passage" the passages themselves.
        every: take each so-manieth question only.
        max_tokens: the longest passage, as in `m3rag.split`.
        overlap: likewise.
        long: how passages are encoded: each alone ("passages"), those of a document together
            ("context"), or each with an `<s>` before every 256 tokens ("mcls"; with max_tokens
            well above that). See `M3Model.encode`.
        aggregate: what a page is worth: its best passage ("max"), or the sum of its best three,
            which favours pages that say it more than once, and long ones ("sum").
        progress: told of every step.

    Raises:
        InputError: an unknown channel, level or language, or nothing to evaluate.
        MissingExtraError: rank-bm25 is not installed.
    """
    _check_channels(channels)
    _check_choice("long", long, LONG)
    _check_choice("aggregate", aggregate, AGGREGATES)
    splitter = Splitter(model.tokenizer, max_tokens, overlap)
    slices = cut(data.sample(every), pairs=pairs, level=level, splitter=splitter)
    tell = progress or _silent
    views = [channel for channel in CHANNELS if channel in channels]
    asked = {query.id: query.text for one in slices for query in one.queries}
    place = {query: row for row, query in enumerate(asked)}
    encoded = _encode_queries(model, list(asked.values()), views, tell)
    total, done = sum(len(one.passages) for one in slices), 0
    scored = []
    for one in slices:
        queries = encoded[[place[query.id] for query in one.queries]] if encoded else None
        matrices = {c: np.empty((len(one.queries), len(one.passages)), np.float32) for c in views}
        for columns in _blocks(one.passages):
            if queries is not None:
                block = [one.passages[i] for i in columns]
                passages = _encode(
                    model,
                    [passage.text for passage in block],
                    views,
                    mcls=_MCLS if long == "mcls" else None,
                    documents=[p.document_id for p in block] if long == "context" else None,
                )
                for channel in views:
                    matrices[channel][:, columns] = _channel_scores(channel, queries, passages)
            done += len(columns)
            tell("scoring passages", done, total)
        if "bm25" in channels:
            matrices["bm25"] = bm25_scores(model, one)
        kept = {channel: matrices[channel] for channel in channels}
        scored.append(SliceScores(one, kept, aggregate))
    presets = PRESETS | model.presets
    return Scores(data.name, model.name, level, pairs == "pooled", scored, presets)


def aggregate(scores: Floats, slice: Slice, how: str = "max") -> Floats:
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


def _check_channels(channels: Sequence[str]) -> None:
    unknown = [channel for channel in channels if channel not in SCORED]
    if unknown or not channels:
        raise InputError(f"channels are some of {', '.join(SCORED)}, got {list(channels)!r}.")
    if "bm25" in channels:
        require("rank_bm25", "evaluate")


def _check_choice(name: str, given: str, choices: Sequence[str]) -> None:
    if given not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}, got {given!r}.")


def _silent(stage: str, done: int, total: int) -> None:
    """Tells nobody."""


def _blocks(passages: Sequence[Passage]) -> Iterator[list[int]]:
    """Positions of all passages, whole documents side by side, about `_BLOCK` at a time."""
    order = sorted(
        range(len(passages)), key=lambda i: (passages[i].document_id or "", passages[i].start or 0)
    )
    block: list[int] = []
    for _, same in groupby(order, key=lambda i: passages[i].document_id):
        block += same
        if len(block) >= _BLOCK:
            yield block
            block = []
    if block:
        yield block


def _encode(
    model: M3Model,
    texts: Sequence[str],
    views: Sequence[str],
    *,
    mcls: int | None = None,
    documents: Sequence[str | None] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Encoding:
    return model.encode(
        texts,
        dense="dense" in views,
        sparse="sparse" in views,
        colbert="colbert" in views,
        mcls=mcls,
        documents=documents,
        progress=progress,
    )


def _encode_queries(
    model: M3Model, texts: Sequence[str], views: Sequence[str], tell: Progress
) -> Encoding | None:
    """All queries' views, or None if none is asked for."""
    if not views:
        return None
    done = 0

    def count(n: int) -> None:
        nonlocal done
        done += n
        if done % _QUERIES == 0 or done == len(texts):
            tell("encoding queries", done, len(texts))

    return _encode(model, texts, views, progress=count)


def _channel_scores(channel: str, queries: Encoding, passages: Encoding) -> Floats:
    if channel == "dense":
        return dense_scores(queries.dense, passages.dense)
    if channel == "sparse":
        return sparse_scores(queries.sparse, passages.sparse)
    return maxsim(queries.colbert, passages.colbert)
