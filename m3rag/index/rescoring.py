"""Scores of texts that were found elsewhere, from stored vectors where the index has the text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from m3rag.encoder import Model
from m3rag.index.hit import Hit
from m3rag.scoring import Weights, weighted_sum
from m3rag.scoring.fusion import Floats
from m3rag.scoring.texts import channel_scores, check_query, text_weights

Search = Callable[[list[str], Mapping[str, float]], Sequence[Hit]]
"""Scores the stored passages with these ids on the channels of these weights."""


def rescore(
    query: str,
    texts: Sequence[str],
    weights: Weights,
    ids: Sequence[str | None],
    *,
    model: Model,
    search: Search | None,
) -> tuple[Floats, dict[str, Floats]]:
    """Score texts against a query; see `M3Index.rescore`.

    Args:
        query: Encoded as it is.
        texts: n of them.
        weights: As for `M3Index.rescore`.
        ids: The ids of the texts, as far as they have one.
        model: Encodes the query, and the texts that are not stored.
        search: Scores stored passages; None if the stored vectors cannot be used.
    """
    counted = text_weights(weights, model.presets)
    check_query(query)
    known = {} if search is None else _stored(texts, ids, counted, search)
    missing = [row for row in range(len(texts)) if row not in known]
    columns = {channel: np.zeros(len(texts), np.float32) for channel in counted}
    for row, hit in known.items():
        for channel in counted:
            columns[channel][row] = getattr(hit, channel)
    found = channel_scores(model, query, [texts[row] for row in missing], counted)
    for channel, scores in found.items():
        columns[channel][missing] = scores
    return weighted_sum(columns, counted), columns


def _stored(
    texts: Sequence[str], ids: Sequence[str | None], weights: Mapping[str, float], search: Search
) -> dict[int, Hit]:
    """Return the hits of the texts that are stored unchanged, by their position."""
    wanted = list(dict.fromkeys(i for i in ids if i))
    if not wanted:
        return {}
    found = {hit.passage.id: hit for hit in search(wanted, weights)}
    return {
        row: found[i]
        for row, (i, text) in enumerate(zip(ids, texts, strict=True))
        if i in found and found[i].passage.text == text
    }
