"""Exact scores of every query against every passage of its slice.

No index is involved: an evaluation measures the model and the fusion, not the approximation of an
engine. Passages are encoded a block at a time, so memory holds the scores (4 bytes per query,
passage and channel), the views of the queries and those of one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import get_args

import numpy as np

from m3rag.documents import Passage
from m3rag.encoding import CHANNELS, Encoding
from m3rag.errors import InputError
from m3rag.evaluation.dataset import RetrievalSet
from m3rag.evaluation.matrices import AGGREGATES, Aggregate, Scores, SliceScores
from m3rag.evaluation.maxsim import maxsim
from m3rag.evaluation.slices import Context, Level, Pairs, Slice, Splitter, cut
from m3rag.extras import require
from m3rag.model import M3Model
from m3rag.progress import Progress, counting, silent
from m3rag.scoring import SCORED, dense_scores, named_weights, sparse_scores
from m3rag.scoring.fusion import Floats

_BLOCK = 128  # passages encoded and scored together
_QUERIES = 512  # queries encoded together


def score(
    model: M3Model,
    data: RetrievalSet,
    *,
    channels: Sequence[str] = SCORED,
    pairs: Pairs = "all",
    level: Level = "document",
    every: int = 1,
    max_tokens: int = 512,
    overlap: int = 64,
    context: Context = "passage",
    mcls: int | None = None,
    aggregate: Aggregate = "max",
    progress: Progress | None = None,
) -> Scores:
    """Score every query of a set with every passage of its slice.

    Args:
        model: what encodes.
        data: the set.
        channels: of "dense", "sparse", "colbert" and "bm25".
        pairs: "all" slices the corpus by language; "pooled" ranks it as a whole; or pairs such as
            `["es-en"]`, query language first.
        level: "document" ranks documents by their passages, "passage" the passages themselves.
        every: Use only every N-th question.
        max_tokens: The longest passage, as in `m3rag.split`.
        overlap: As in `m3rag.split`.
        context: "passage" encodes each passage alone, "document" those of a document together. See
            `M3Model.encode`.
        mcls: Insert `<s>` before every so many tokens of a passage, such as 256, with `max_tokens`
            well above that. See `M3Model.encode`.
        aggregate: A document scores as its best passage ("max"), or as the sum of its best three
            ("sum"), which favours documents that repeat the answer, and long ones.
        progress: Called with the stages "encoding queries" and "scoring passages".

    Raises:
        InputError: an unknown channel, level or language, or nothing to evaluate.
        MissingExtraError: rank-bm25 is not installed.
    """
    _check_channels(channels)
    _check_choice("context", context, get_args(Context))
    _check_choice("aggregate", aggregate, AGGREGATES)
    splitter = Splitter(model.tokenizer, max_tokens, overlap)
    slices = cut(data.sample(every), pairs=pairs, level=level, splitter=splitter)
    views = [channel for channel in CHANNELS if channel in channels]
    encoder = _SetEncoder(model, views, mcls, together=context == "document")
    report = progress or silent
    queries = encoder.queries(slices, report)
    passages = counting(report, "scoring passages", sum(len(one.passages) for one in slices))
    scored = []
    for one, asked in zip(slices, queries, strict=True):
        matrices = _view_scores(encoder, one, asked, passages)
        if "bm25" in channels:
            matrices["bm25"] = bm25_scores(model, one)
        kept = {channel: matrices[channel] for channel in channels}
        scored.append(SliceScores(one, kept, aggregate))
    presets = named_weights(model.presets)
    return Scores(data.name, model.name, level, pairs == "pooled", scored, presets)


@dataclass(frozen=True)
class _SetEncoder:
    """Encodes the queries and passages of a set.

    Attributes:
        model: encodes.
        views: the channels that need encoding; none if bm25 alone is scored.
        mcls: tokens between two `<s>`; None for one at the start of a passage.
        together: whether the passages of a document share a pass.
    """

    model: M3Model
    views: Sequence[str]
    mcls: int | None
    together: bool

    def queries(self, slices: Sequence[Slice], progress: Progress) -> list[Encoding | None]:
        """Encode the queries of all slices, each once; returns those of each slice."""
        texts = {query.id: query.text for one in slices for query in one.queries}
        if not self.views:
            return [None for _ in slices]

        def report(_stage: str, done: int, total: int | None, /) -> None:
            if done % _QUERIES == 0 or done == total:
                progress("encoding queries", done, total)

        encoding = self._encode(list(texts.values()), progress=report)
        place = {name: row for row, name in enumerate(texts)}
        return [encoding[[place[query.id] for query in one.queries]] for one in slices]

    def passages(self, passages: Sequence[Passage]) -> Encoding:
        """Encode passages."""
        documents = [p.document_id for p in passages] if self.together else None
        return self._encode([p.text for p in passages], mcls=self.mcls, documents=documents)

    def _encode(
        self,
        texts: Sequence[str],
        *,
        mcls: int | None = None,
        documents: Sequence[str | None] | None = None,
        progress: Progress | None = None,
    ) -> Encoding:
        return self.model.encode(
            texts,
            dense="dense" in self.views,
            sparse="sparse" in self.views,
            colbert="colbert" in self.views,
            mcls=mcls,
            documents=documents,
            progress=progress,
        )


def _check_channels(channels: Sequence[str]) -> None:
    unknown = [channel for channel in channels if channel not in SCORED]
    if unknown or not channels:
        raise InputError(f"channels are some of {', '.join(SCORED)}, got {list(channels)!r}.")
    if "bm25" in channels:
        require("rank_bm25", "evaluate")


def _check_choice(name: str, given: str, choices: Sequence[str]) -> None:
    if given not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}, got {given!r}.")


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


def _view_scores(
    encoder: _SetEncoder, one: Slice, queries: Encoding | None, report: Callable[[int], None]
) -> dict[str, Floats]:
    """Return the scores `(n queries, n passages)` of a slice on each view."""
    shape = (len(one.queries), len(one.passages))
    matrices = {channel: np.empty(shape, np.float32) for channel in encoder.views}
    for columns in _blocks(one.passages):
        if queries is not None:
            passages = encoder.passages([one.passages[i] for i in columns])
            for channel, matrix in matrices.items():
                matrix[:, columns] = _channel_scores(channel, queries, passages)
        report(len(columns))
    return matrices


def _channel_scores(channel: str, queries: Encoding, passages: Encoding) -> Floats:
    if channel == "dense":
        return dense_scores(queries.dense, passages.dense)
    if channel == "sparse":
        return sparse_scores(queries.sparse, passages.sparse)
    return maxsim(queries.colbert, passages.colbert)


def bm25_scores(model: M3Model, one: Slice) -> Floats:
    """Okapi BM25, `(n queries, n passages)`; 0 where nothing is shared."""
    from rank_bm25 import BM25Okapi

    tokens = model.token_ids([passage.text for passage in one.passages])
    scores = np.zeros((len(one.queries), len(one.passages)), np.float32)
    if not any(tokens):
        return scores
    bm25 = BM25Okapi(tokens)
    for row, query in enumerate(model.token_ids([query.text for query in one.queries])):
        known = [token for token in query if token in bm25.idf]  # the others add nothing
        if known:
            scores[row] = bm25.get_scores(known)
    return scores
