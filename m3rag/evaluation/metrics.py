"""Metrics of rankings: nDCG@k, Recall@k and MRR@k by trec_eval.

`pytrec_eval-terrier`, a Python module around trec_eval's own C code, computes the metrics. ranx
gives the same numbers, but needs numba, which compiles for seconds at start-up; ir-measures wraps
this same library. The original pytrec_eval has had no release since 2020, and its build downloads
sources.

Ties are ordered as in trec_eval, by document id, the last in alphabetical order first. This order
does not depend on relevance, and other tools compute the same values from a saved run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from m3rag.errors import InputError
from m3rag.evaluation.slices import Slice
from m3rag.extras import require
from m3rag.scoring.fusion import Floats

METRICS = ("ndcg@10", "recall@1", "recall@10", "recall@100", "mrr@10")
_TREC = {"ndcg": "ndcg_cut_{k}", "recall": "recall_{k}", "mrr": "recip_rank"}
_ROWS = 1024  # queries that are ranked at a time


def check_metrics(metrics: Sequence[str]) -> int:
    """Return the largest cutoff of metrics such as "ndcg@10".

    Raises:
        InputError: A metric is unknown, or there is none.
    """
    for name in metrics:
        if not re.fullmatch(r"(ndcg|recall|mrr)@[1-9]\d*", name):
            raise InputError(
                f"{name!r} is not a metric. Use ndcg@k, recall@k or mrr@k, such as ndcg@10."
            )
    if not metrics:
        raise InputError("`metrics` must name at least one metric, such as ndcg@10.")
    return max(int(name.partition("@")[2]) for name in metrics)


def top(scores: Floats, depth: int) -> NDArray[np.int64]:
    """Return the columns of the best units of each query, best first, `(n queries, <= depth)`.

    Columns stand for ids in ascending order; of equal scores, the last column comes first. -1 pads
    the rows of queries with fewer units in the run.

    Args:
        scores: Scores of units, `(n queries, n units)`; -inf marks a unit that is not in the run.
        depth: The length of the rankings.
    """
    n = scores.shape[1]
    parts = [np.empty((0, min(depth, n)), np.int64)]
    for begin in range(0, len(scores), _ROWS):
        rows = scores[begin : begin + _ROWS, ::-1]
        order = np.argsort(-rows, axis=1, kind="stable")[:, :depth]
        listed = np.take_along_axis(rows, order, axis=1) > -np.inf
        parts.append(np.where(listed, n - 1 - order, -1))
    return np.concatenate(parts)


def measure_rankings(
    slice: Slice, scores: Floats, best: NDArray[np.int64], metrics: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Return the values of each metric for the queries of a slice, `(n queries,)`.

    Args:
        slice: The slice with its relevant units.
        scores: Scores of its units, `(n queries, n units)`.
        best: The columns that `top` returns, as many as the largest cutoff.
        metrics: Names such as "ndcg@10".

    Raises:
        MissingExtraError: pytrec_eval is not installed.
    """
    require("pytrec_eval", "evaluate")
    import pytrec_eval

    units = np.array(slice.units, object)
    qrels = {
        query.id: dict(grades) for query, grades in zip(slice.queries, slice.relevant, strict=True)
    }
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, _measures(metrics))
    found: dict[str, dict[str, float]] = {}
    for begin in range(0, len(best), _ROWS):
        end = begin + _ROWS
        run = {}
        for query, row, columns in zip(
            slice.queries[begin:end], scores[begin:end], best[begin:end], strict=True
        ):
            listed = columns[columns >= 0]
            run[query.id] = dict(zip(units[listed], row[listed].tolist(), strict=True))
        found |= evaluator.evaluate(run)
    values = {}
    for metric in metrics:
        name, _, k = metric.partition("@")
        key = _TREC[name].format(k=k)
        column = np.array([found.get(query.id, {}).get(key, 0.0) for query in slice.queries])
        if name == "mrr":  # trec_eval's MRR has no cutoff; a rank beyond it counts 0
            column[column * int(k) < 1 - 1e-9] = 0.0
        values[metric] = column
    return values


def _measures(metrics: Sequence[str]) -> set[str]:
    """Return trec_eval's names, one for all cutoffs of a measure: "recall.1,10,100"."""
    cutoffs: dict[str, set[int]] = {}
    for metric in metrics:
        name, _, k = metric.partition("@")
        cutoffs.setdefault(name, set()).add(int(k))
    names = {"ndcg": "ndcg_cut.", "recall": "recall.", "mrr": "recip_rank"}
    return {
        names[name] + ("" if name == "mrr" else ",".join(map(str, sorted(ks))))
        for name, ks in cutoffs.items()
    }
