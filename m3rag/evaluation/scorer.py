"""Exact scores of every query against every passage of its slice.

No index is involved: an evaluation measures the model and the fusion, not the approximations of an
index. Passages are encoded in blocks, so memory holds the scores (4 bytes per query, passage and
channel), the views of the queries and those of one block.
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
from m3rag.model.grouping import check_mcls
from m3rag.progress import Progress, counting, silent
from m3rag.scoring import SCORED, dense_scores, named_weights, sparse_scores
from m3rag.scoring.fusion import Floats

_BLOCK = 128  # passages that are encoded and scored together
_QUERIES = 512  # queries between two progress reports


def score(
    model: M3Model,
    data: RetrievalSet,
    *,
    channels: Sequence[str] = SCORED,
    pairs: Pairs = "all",
    level: Level = "document",
    every: int = 1,
    max_tokens: int | None = None,
    overlap: int | None = None,
    context: Context = "passage",
    mcls: int | None = None,
    aggregate: Aggregate = "max",
    progress: Progress | None = None,
) -> Scores:
    """Score every query of a set with every passage of its slice.

    Args:
        model: The model that encodes.
        data: The set.
        channels: Any of "dense", "sparse", "colbert" and "bm25".
        pairs: "all" slices the corpus by language, "pooled" ranks it as a whole, and pairs such as
            `["es-en"]`, query language first, select slices and queries.
        level: "document" ranks documents by their passages, "passage" ranks the passages.
        every: Use only every N-th question.
        max_tokens: The longest passage, as in `m3rag.split`; `model.passage_tokens` by default.
        overlap: As in `m3rag.split`.
        context: "passage" encodes each passage alone, "document" those of a document together. See
            `M3Model.encode`.
        mcls: Insert `<s>` before every `mcls` tokens of a passage, such as 256; `max_tokens` should
            be well above that. See `M3Model.encode`.
        aggregate: A document scores as its best passage ("max"), or as the sum of its best three
            ("sum"), which favours documents that repeat the answer, and long ones.
        progress: Called with the stages "encoding queries" and "scoring passages".

    Raises:
        InputError: A channel, level or language is unknown, or there is nothing to evaluate.
        MissingExtraError: rank-bm25 is not installed.
    """
    check_mcls(mcls)
    _check_channels(channels)
    _check_choice("context", context, get_args(Context))
    _check_choice("aggregate", aggregate, AGGREGATES)
    longest = model.passage_tokens if max_tokens is None else max_tokens
    splitter = Splitter(model.tokenizer, longest, overlap)
    slices = cut(data.sample(every), pairs=pairs, level=level, splitter=splitter)
    views = [channel for channel in CHANNELS if channel in channels]
    encoder = _SetEncoder(model, views, mcls, together=context == "document")
    report = progress or silent
    queries = encoder.queries(slices, report)
    advance = counting(report, "scoring passages", sum(len(part.passages) for part in slices))
    slice_scores = []
    for part, encoding in zip(slices, queries, strict=True):
        matrices = _view_scores(encoder, part, encoding, advance)
        if "bm25" in channels:
            matrices["bm25"] = bm25_scores(model, part)
        ordered = {channel: matrices[channel] for channel in channels}
        slice_scores.append(SliceScores(part, ordered, aggregate))
    presets = named_weights(model.presets)
    return Scores(data.name, model.name, level, pairs == "pooled", slice_scores, presets)


@dataclass(frozen=True)
class _SetEncoder:
    """Encodes the queries and passages of a set.

    Attributes:
        model: The model that encodes.
        views: The channels that need encoding; none if only bm25 is scored.
        mcls: The number of tokens between two `<s>`; None for one at the start of a passage.
        together: Whether the passages of a document share a forward pass.
    """

    model: M3Model
    views: Sequence[str]
    mcls: int | None
    together: bool

    def queries(self, slices: Sequence[Slice], progress: Progress) -> list[Encoding | None]:
        """Encode the queries of all slices, each once, and return them by slice."""
        texts = {query.id: query.text for part in slices for query in part.queries}
        if not self.views:
            return [None for _ in slices]

        def report(_stage: str, done: int, total: int | None, /) -> None:
            if done % _QUERIES == 0 or done == total:
                progress("encoding queries", done, total)

        encoding = self._encode(list(texts.values()), progress=report)
        rows = {name: row for row, name in enumerate(texts)}
        return [encoding[[rows[query.id] for query in part.queries]] for part in slices]

    def passages(self, passages: Sequence[Passage]) -> Encoding:
        """Encode passages."""
        documents = [p.document_id for p in passages] if self.together else None
        return self._encode([p.full_text for p in passages], mcls=self.mcls, documents=documents)

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
        raise InputError(
            f"`channels` must be one or more of {', '.join(SCORED)}, got {list(channels)!r}."
        )
    if "bm25" in channels:
        require("rank_bm25", "evaluate")


def _check_choice(name: str, given: str, choices: Sequence[str]) -> None:
    if given not in choices:
        raise InputError(f"`{name}` must be one of {', '.join(choices)}, got {given!r}.")


def _blocks(passages: Sequence[Passage]) -> Iterator[list[int]]:
    """Yield the positions of all passages, in blocks of whole documents, about `_BLOCK` each."""
    order = sorted(
        range(len(passages)), key=lambda i: (passages[i].document_id or "", passages[i].start or 0)
    )
    block: list[int] = []
    for _, positions in groupby(order, key=lambda i: passages[i].document_id):
        block += positions
        if len(block) >= _BLOCK:
            yield block
            block = []
    if block:
        yield block


def _view_scores(
    encoder: _SetEncoder, slice: Slice, queries: Encoding | None, advance: Callable[[int], None]
) -> dict[str, Floats]:
    """Return the scores `(n queries, n passages)` of a slice on each view."""
    shape = (len(slice.queries), len(slice.passages))
    matrices = {channel: np.empty(shape, np.float32) for channel in encoder.views}
    for columns in _blocks(slice.passages):
        if queries is not None:
            passages = encoder.passages([slice.passages[i] for i in columns])
            for channel, matrix in matrices.items():
                matrix[:, columns] = _channel_scores(channel, queries, passages)
        advance(len(columns))
    return matrices


def _channel_scores(channel: str, queries: Encoding, passages: Encoding) -> Floats:
    if channel == "dense":
        return dense_scores(queries.dense, passages.dense)
    if channel == "sparse":
        return sparse_scores(queries.sparse, passages.sparse)
    return maxsim(queries.colbert, passages.colbert)


def bm25_scores(model: M3Model, slice: Slice) -> Floats:
    """Return the Okapi BM25 scores, `(n queries, n passages)`; 0 where no token is shared."""
    from rank_bm25 import BM25Okapi

    tokens = model.token_ids([passage.full_text for passage in slice.passages])
    scores = np.zeros((len(slice.queries), len(slice.passages)), np.float32)
    if not any(tokens):
        return scores
    bm25 = BM25Okapi(tokens)
    for row, query in enumerate(model.token_ids([query.text for query in slice.queries])):
        known = [token for token in query if token in bm25.idf]  # other tokens add nothing
        if known:
            scores[row] = bm25.get_scores(known)
    return scores
