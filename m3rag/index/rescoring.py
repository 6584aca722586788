"""Score texts found elsewhere, by their stored vectors where the index has the text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from m3rag.encoder import Model
from m3rag.errors import InputError
from m3rag.index.hit import Hit
from m3rag.limits import shown
from m3rag.scoring import Weights, weighted_sum
from m3rag.scoring.fusion import Floats
from m3rag.scoring.texts import channel_scores, check_query, check_texts, text_weights

_BATCH = 1024  # ids in the filter of one search

Search = Callable[[list[str], Mapping[str, float]], Sequence[Hit]]
"""A function (ids, weights) that scores stored passages on the channels with a weight."""


def rescore(
    query: str,
    texts: Sequence[str],
    weights: Weights,
    ids: Sequence[str | None],
    *,
    model: Model,
    search: Search,
) -> tuple[Floats, dict[str, Floats]]:
    """Score texts against a query; see `M3Index.rescore`.

    Args:
        query: The query, encoded without a prefix.
        texts: The n texts.
        weights: As for `M3Index.rescore`.
        ids: The id of each text, or nothing; None for a text without one.
        model: Encodes the query and the texts that are not stored.
        search: Scores stored passages.

    Raises:
        InputError: The query is empty, the weights cannot be used, or `ids` is no list of the same
            length as `texts`.
    """
    counted = text_weights(weights, model.presets)
    check_query(query)
    check_texts(texts)
    _check_ids(ids)
    if len(ids) not in (0, len(texts)):
        raise InputError(
            f"There are {len(texts)} texts and {len(ids)} ids: pass one id, or None, for each text."
        )
    known = _stored(texts, ids, counted, search)
    missing = [row for row in range(len(texts)) if row not in known]
    columns = {channel: np.zeros(len(texts), np.float32) for channel in counted}
    for row, hit in known.items():
        for channel in counted:
            columns[channel][row] = getattr(hit, channel)
    found = channel_scores(model, query, [texts[row] for row in missing], counted)
    for channel, scores in found.items():
        columns[channel][missing] = scores
    return weighted_sum(columns, counted), columns


def _check_ids(ids: object) -> None:
    """Check that `ids` is a list of strings and None.

    Raises:
        InputError: It is not.
    """
    if isinstance(ids, str) or not isinstance(ids, Sequence):
        raise InputError(f"`ids` must be a list of strings or None, got {shown(ids)}.")
    for i in ids:
        if i is not None and not isinstance(i, str):
            raise InputError(f"`ids` must be a list of strings or None, got {shown(i)} in it.")


def _stored(
    texts: Sequence[str], ids: Sequence[str | None], weights: Mapping[str, float], search: Search
) -> dict[int, Hit]:
    """Return the hits of texts that are stored unchanged, by the position of the text."""
    wanted = list(dict.fromkeys(i for i in ids if i))
    if not wanted:
        return {}
    found: dict[str, Hit] = {}
    for start in range(0, len(wanted), _BATCH):
        hits = search(wanted[start : start + _BATCH], weights)
        found |= {hit.passage.id: hit for hit in hits}
    return {
        row: found[i]
        for row, (i, text) in enumerate(zip(ids, texts, strict=True))
        if i in found and text in (found[i].passage.text, found[i].passage.full_text)
    }
