"""Exact search over vectors in memory: the memory store, and a folder whose engine cannot run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3rag.encoding import SparseVectors
from m3rag.scoring.bm25 import idf
from m3rag.scoring.fusion import LEXICAL
from m3rag.scoring.inverted import InvertedLists
from m3rag.scoring.scores import dense_scores
from m3rag.stores.base import Candidates, Floats, QueryPlan

Rows = NDArray[np.int64]
"""Row numbers of a table."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """All points side by side, in the form that the score functions take.

    Attributes:
        ids: The passage ids, by row.
        dense: The dense vectors, by row.
        sparse: The model's term weights.
        bm25: The saturated term frequencies.
    """

    ids: Sequence[str]
    dense: Floats
    sparse: InvertedLists
    bm25: InvertedLists


def candidates(
    table: Table, plan: QueryPlan, allowed: Rows, colbert: Callable[[Rows], Floats]
) -> Candidates:
    """Return the candidates of a plan.

    Args:
        table: The points.
        plan: The query.
        allowed: The rows that the plan's filter matches, ascending.
        colbert: Returns the ColBERT scores of some rows.
    """
    union: dict[int, None] = {}
    for channel in plan.retrieve if len(allowed) else ():
        scores = _scores(table, plan, channel, allowed, colbert)
        order = np.argsort(-scores, kind="stable")[: plan.candidates]
        if channel in LEXICAL:
            order = order[scores[order] > 0]
        union.update(dict.fromkeys(allowed[order].tolist()))
    rows = np.array(list(union), np.int64)
    return Candidates(
        [table.ids[row] for row in union],
        {channel: _scores(table, plan, channel, rows, colbert) for channel in plan.score},
    )


def _scores(
    table: Table, plan: QueryPlan, channel: str, rows: Rows, colbert: Callable[[Rows], Floats]
) -> Floats:
    """Return a channel's scores of some rows of the table."""
    if len(rows) == 0:
        return np.zeros(0, np.float32)
    if channel == "dense" and plan.dense is not None:
        return dense_scores(plan.dense[None], table.dense[rows]).reshape(-1)
    if channel == "sparse" and plan.sparse is not None:
        tokens, weights = SparseVectors.from_dicts([plan.sparse]).rows(0)
        return table.sparse.scores(tokens, weights)[rows].reshape(-1)
    if channel == "bm25" and plan.bm25 is not None:
        tokens, counts = SparseVectors.from_dicts([plan.bm25]).rows(0)
        rarity = idf(len(table.ids), table.bm25.counts(tokens))
        return table.bm25.scores(tokens, (counts * rarity).astype(np.float32))[rows].reshape(-1)
    if channel == "colbert" and plan.colbert is not None:
        return colbert(rows)
    raise AssertionError(f"The plan has no query for its channel {channel}.")
