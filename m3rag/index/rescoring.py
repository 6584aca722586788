"""Scores of texts that somebody else found: from stored vectors where there are some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from m3rag.errors import InputError
from m3rag.index.hit import Hit
from m3rag.index.index import M3Index
from m3rag.index.views import Model
from m3rag.model import Encoding
from m3rag.scoring import (
    PRESETS,
    Weights,
    colbert_scores,
    dense_scores,
    parse_weights,
    sparse_scores,
    weighted_sum,
)

Floats = NDArray[np.float32]

_BATCH = 64  # texts whose ColBERT vectors are in memory at a time


def rescore(
    query: str,
    texts: Sequence[str],
    weights: Weights = "default",
    *,
    model: Model,
    ids: Sequence[str | None] = (),
    index: M3Index | None = None,
) -> tuple[Floats, dict[str, Floats]]:
    """Score texts against a query on every channel that has a weight.

    A text whose id is in `index` with the very same text is scored by its stored vectors; all
    others are encoded, each once.

    Args:
        query: encoded as it is.
        texts: n of them.
        weights: as for `M3Index.search`, without bm25, which only an index can score.
        model: what encodes; the index's own, if there is one.
        ids: of the texts, as far as they have one.
        index: where they may be stored.

    Returns:
        The weighted sum over the weights' sum, `(n,)`, and each channel's scores, `(n,)`.

    Raises:
        InputError: an empty query, weights without effect or for bm25, or a model that did not
            make the index.
    """
    every = {**PRESETS, **model.presets}
    counted = {c: w for c, w in parse_weights(weights, every).items() if w > 0}
    if not counted or "bm25" in counted:
        raise InputError(
            "Texts are rescored by dense, sparse and colbert, and one of them needs a weight above "
            f"0, got weights={weights!r}."
        )
    if not query.strip():
        raise InputError(f"The query is empty ({query!r}). Ask something.")
    if index is not None:
        index.manifest.check_model(model, "the index")
    known = {} if index is None else _stored(query, texts, ids, counted, index)
    columns = {c: np.zeros(len(texts), np.float32) for c in counted}
    for row, hit in known.items():
        for channel in counted:
            columns[channel][row] = getattr(hit, channel)
    missing = [row for row in range(len(texts)) if row not in known]
    for start in range(0, len(missing), _BATCH):
        rows = missing[start : start + _BATCH]
        views = model.encode(
            [query, *(texts[row] for row in rows)],
            dense="dense" in counted,
            sparse="sparse" in counted,
            colbert="colbert" in counted,
        )
        for channel, scores in _scores(views[0], views[1:]).items():
            columns[channel][rows] = scores
    return weighted_sum(columns, counted), columns


def _stored(
    query: str,
    texts: Sequence[str],
    ids: Sequence[str | None],
    weights: Mapping[str, float],
    index: M3Index,
) -> dict[int, Hit]:
    """The hits of the texts that are stored, by their position."""
    wanted = list(dict.fromkeys(i for i in ids if i))
    if not wanted or ("colbert" in weights and index.manifest.colbert != "stored"):
        return {}
    hits = index.search(
        query, len(wanted), weights=weights, filter={"id": wanted}, candidates=len(wanted)
    )
    found = {hit.passage.id: hit for hit in hits}
    return {
        row: found[i]
        for row, (i, text) in enumerate(zip(ids, texts, strict=True))
        if i in found and found[i].passage.text == text
    }


def _scores(query: Encoding, passages: Encoding) -> dict[str, Floats]:
    """One query's scores `(n,)` of n passages, for each view they have."""
    scores = {}
    if "dense" in query.channels:
        scores["dense"] = dense_scores(query.dense, passages.dense)[0]
    if "sparse" in query.channels:
        scores["sparse"] = sparse_scores(query.sparse, passages.sparse)[0]
    if "colbert" in query.channels:
        scores["colbert"] = colbert_scores(query.colbert[0], passages.colbert)
    return scores
