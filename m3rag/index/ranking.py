"""Rank candidates, and choose the hits among them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from m3rag.documents import Passage
from m3rag.index.query import ScoringPlan, SearchRequest
from m3rag.scoring import balanced, reciprocal_rank_fusion, weighted_sum
from m3rag.stores.base import Candidates, Floats, Store
from m3rag.stores.filter_fields import values


def rank(found: Candidates, plan: ScoringPlan) -> tuple[list[int], Floats]:
    """Return the positions of the candidates, best first, and their fused scores.

    Equal scores are ordered by id, so that every store returns the same order.
    """
    if plan.fusion == "weighted":
        fused = weighted_sum(found.scores, plan.weights)
    else:
        fused = reciprocal_rank_fusion(found.scores, plan.weights, k=plan.rrf_k)
    return sorted(range(len(fused)), key=lambda i: (-fused[i], found.ids[i])), fused


def chosen(
    found: Candidates, order: Sequence[int], fused: Floats, request: SearchRequest, store: Store
) -> list[tuple[int, Passage]]:
    """Return the positions and passages of the hits, best first.

    Leaves out what another thread deleted meanwhile, what scores too little, more than the allowed
    number of passages of a document, and then the first `offset`.
    """
    best: list[tuple[int, Passage]] = []
    of_document: Counter[str] = Counter()
    wanted = request.offset + request.k
    for i, passage in _fetched(found, order, wanted, store):
        if request.min_score is not None and not fused[i] >= request.min_score:
            break  # all others score less
        name = passage.document_id
        if request.max_per_document is not None and name is not None:
            of_document[name] += 1
            if of_document[name] > request.max_per_document:
                continue
        best.append((i, passage))
        if len(best) == wanted:
            break
    return best[request.offset :]


def balance_candidates(
    found: Candidates, plan: ScoringPlan, passages: Sequence[Passage | None], name: str
) -> Candidates:
    """Return the candidates with scores balanced between the values of a metadata field.

    Only the channels in the fused score change; see `m3rag.scoring.balanced`. Passages without
    the field form a group of their own.

    Args:
        found: The n candidates.
        plan: How they will be ranked.
        passages: The n passages; None for a passage that was deleted meanwhile.
        name: The metadata field, or the path of a key inside dicts.
    """
    found_values = [None if p is None else _value(p, name) for p in passages]
    # Numbers for the groups: an array of long texts takes the length of the longest for each.
    names: dict[str, int] = {}
    texts = (json.dumps(value, sort_keys=True) for value in found_values)
    groups = np.array([names.setdefault(text, len(names)) for text in texts], np.int64)
    counted = {c: balanced(found.scores[c], groups) for c in plan.weights}
    return Candidates(found.ids, {**found.scores, **counted})


def _value(passage: Passage, name: str) -> object:
    if name in passage.metadata or "." not in name or name.startswith("$"):
        return passage.metadata.get(name)
    return list(values(passage, name)) or None  # a path, such as "author.lang"


def _fetched(
    found: Candidates, order: Sequence[int], size: int, store: Store
) -> Iterator[tuple[int, Passage]]:
    """Yield the positions and passages of candidates that exist, `size` fetched at a time."""
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        passages = store.get([found.ids[i] for i in rows])
        yield from ((i, p) for i, p in zip(rows, passages, strict=True) if p is not None)
