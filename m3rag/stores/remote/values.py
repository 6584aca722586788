"""Points, plans, candidates and vectors as messages, and back; what is received is checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from m3rag.documents import Passage, as_passage, passage_from_dict, passage_to_dict
from m3rag.encoding import SparseVectors
from m3rag.errors import InputError
from m3rag.http.messages import Message
from m3rag.http.received import Array, Received
from m3rag.limits import Limits, check_count, shown
from m3rag.model.view_messages import (
    TOKENS,
    multi_arrays,
    received_multi,
    received_sparse,
    sparse_arrays,
)
from m3rag.scoring.fusion import SCORED
from m3rag.stores.base import Candidates, Floats, Points, QueryPlan, Widths
from m3rag.stores.filters import Filter, filter_to_dict, parse_filter


def points_message(points: Points) -> Message:
    """Return points as a message."""
    arrays: list[Array] = [points.dense, *sparse_arrays(points.sparse), *sparse_arrays(points.bm25)]
    if points.colbert is not None:
        arrays += multi_arrays(points.colbert)
    return {"passages": [*map(passage_to_dict, points.passages)]}, arrays


def received_points(
    passages: object, arrays: Sequence[Array], widths: Widths, limits: Limits
) -> Points:
    """Return the points of a message.

    Raises:
        InputError: They are not what a store with these widths can keep.
    """
    found = received_passages(passages, limits)
    if len({passage.id for passage in found}) < len(found):
        raise InputError("Two passages of the message have the same id.")
    n, received = len(found), Received(arrays)
    dense = received.next("dense vectors", "f4", width=widths.dense, axes=2)
    if len(dense) != n:
        raise InputError(f"The message has {len(dense):,} dense vectors for {n:,} passages.")
    sparse = received_sparse(received, "term weights", n, vocabulary=widths.vocabulary)
    bm25 = received_sparse(received, "term frequencies", n)  # an analyzer has tokens of its own
    colbert = None if widths.colbert is None else received_multi(received, n, widths.colbert)
    return Points(found, dense, sparse, bm25, colbert)


def received_passages(values: object, limits: Limits) -> list[Passage]:
    """Return passages from JSON values.

    Raises:
        InputError: They are none, or cannot be stored.
    """
    if not isinstance(values, list):
        raise InputError(f"`passages` must be a list, got {shown(values)}.")
    try:
        return [as_passage(passage_from_dict(one), limits) for one in values]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"A passage of the message is damaged: {str(error)[:200]}.") from None


def plans_message(plans: Sequence[QueryPlan]) -> Message:
    """Return plans as a message."""
    described, arrays = [], []
    for plan in plans:
        own: dict[str, list[Array]] = {}
        if plan.dense is not None:
            own["dense"] = [plan.dense]
        if plan.sparse is not None:
            own["sparse"] = _terms(plan.sparse)
        if plan.colbert is not None:
            own["colbert"] = [plan.colbert]
        if plan.bm25 is not None:
            own["bm25"] = _terms(plan.bm25)
        described.append(
            {
                "retrieve": plan.retrieve,
                "score": plan.score,
                "candidates": plan.candidates,
                "where": None if plan.where is None else filter_to_dict(plan.where),
                "has": [*own],
            }
        )
        arrays += [array for one in own.values() for array in one]
    return {"plans": described}, arrays


def received_plans(
    plans: object, arrays: Sequence[Array], widths: Widths, limits: Limits
) -> list[QueryPlan]:
    """Return the plans of a message.

    Raises:
        InputError: One is damaged, or not one for a store with these widths.
    """
    received = Received(arrays)
    if not isinstance(plans, list) or not all(isinstance(plan, dict) for plan in plans):
        raise InputError(f"`plans` must be a list of objects, got {shown(plans)}.")
    return [_plan(plan, received, widths, limits) for plan in plans]


def _plan(plan: Mapping[str, Any], received: Received, widths: Widths, limits: Limits) -> QueryPlan:
    has = _channels(plan, "has")
    retrieve, score = _channels(plan, "retrieve"), _channels(plan, "score")
    if missing := [c for c in (*retrieve, *score) if c not in has]:
        raise InputError(f"A plan has the channel {missing[0]}, but no query for it.")
    if "colbert" in has and widths.colbert is None:
        raise InputError("A plan has the channel colbert, but the index stores no ColBERT vectors.")
    own: dict[str, Any] = {}
    for channel in has:
        if channel == "dense":
            own[channel] = received.next("query's dense vector", "f4", width=widths.dense)
        elif channel == "colbert":
            own[channel] = received.next(
                "query's ColBERT vectors", "f4", width=widths.colbert, axes=2
            )
        else:
            tokens = received.next(f"query's {channel} tokens", "i8")
            values = received.next(f"query's {channel} values", "f8", width=len(tokens))
            if len(tokens) and not 0 <= tokens.min() <= tokens.max() < TOKENS:
                raise InputError(f"The query's {channel} tokens are out of range.")
            own[channel] = dict(zip(tokens.tolist(), values.tolist(), strict=True))
    return QueryPlan(
        retrieve=retrieve,
        score=score,
        candidates=check_count("candidates", plan.get("candidates"), most=limits.results),
        where=received_filter(plan.get("where"), limits),
        **own,
    )


def received_filter(where: object, limits: Limits) -> Filter | None:
    """Return a filter from JSON values; None if there is none.

    Raises:
        InputError: It is none.
    """
    if where is not None and not isinstance(where, dict):
        raise InputError(f"A filter must be an object, got {shown(where)}.")
    return parse_filter(where, limits)


def candidates_message(found: Sequence[Candidates]) -> Message:
    """Return candidates as a message."""
    described = [{"ids": [*one.ids], "scores": [*one.scores]} for one in found]
    return {"found": described}, [column for one in found for column in one.scores.values()]


def received_candidates(message: Message) -> Iterator[Candidates]:
    """Yield the candidates of a message.

    Raises:
        InputError, KeyError, TypeError: It is damaged.
    """
    body, arrays = message
    received = Received(arrays)
    for one in body["found"]:
        ids = [str(i) for i in one["ids"]]
        scores = {c: received.next(f"{c} scores", "f4", width=len(ids)) for c in one["scores"]}
        yield Candidates(ids, scores)


def weights_message(weights: Sequence[Mapping[int, float]]) -> Message:
    """Return the sparse vectors of passages as a message."""
    return {}, sparse_arrays(SparseVectors.from_dicts(weights))


def received_weights(arrays: Sequence[Array], n: int) -> list[dict[int, float]]:
    """Return the sparse vectors of n passages.

    Raises:
        InputError: The message has other arrays.
    """
    return [*received_sparse(Received(arrays), "term weights", n)]


def vectors_message(vectors: Sequence[Floats | None]) -> Message:
    """Return dense vectors as a message."""
    present = [vector is not None for vector in vectors]
    stacked = [vector for vector in vectors if vector is not None]
    return {"present": present}, [np.stack(stacked)] if stacked else []


def received_vectors(message: Message) -> list[Floats | None]:
    """Return the dense vectors of a message.

    Raises:
        InputError, KeyError, TypeError: It is damaged.
    """
    body, arrays = message
    present = body["present"]
    if not any(present):
        return [None] * len(present)
    rows = iter(Received(arrays).next("dense vectors", "f4", axes=2))
    return [next(rows).copy() if there else None for there in present]


def _terms(weights: Mapping[int, float]) -> list[Array]:
    return [np.array([*weights], np.int64), np.array([*weights.values()], np.float64)]


def _channels(plan: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = plan.get(name)
    if not isinstance(found, list) or not all(channel in SCORED for channel in found):
        raise InputError(f"A plan's `{name}` must be some of {', '.join(SCORED)}.")
    return tuple(dict.fromkeys(found))
