"""Rankings and what they are worth: nDCG@k, Recall@k and MRR@k by trec_eval.

The metrics are computed by `pytrec_eval-terrier`, trec_eval's own C code behind a Python module.
ranx gives the same numbers but brings numba and a compiler's start-up of seconds; ir-measures wraps
this very library. The original pytrec_eval has had no release since 2020 and downloads its source
while it is built.

Equal scores are ordered as trec_eval orders them, by document id, the last in the alphabet first:
a rule that knows nothing of the right answer, so that a run that is written out is worth the same
to every other tool.
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
_ROWS = 1024  # queries ranked at a time


def check_metrics(metrics: Sequence[str]) -> int:
    """The longest cutoff among metrics such as "ndcg@10".

    Raises:
        InputError: an unknown metric.
    """
    for name in metrics:
        if not re.fullmatch(r"(ndcg|recall|mrr)@[1-9]\d*", name):
            raise InputError(
                f"{name!r} is not a metric: use ndcg@k, recall@k or mrr@k, such as ndcg@10."
            )
    if not metrics:
        raise InputError("No metrics: name at least one, such as ndcg@10.")
    return max(int(name.partition("@")[2]) for name in metrics)


def top(scores: Floats, depth: int) -> NDArray[np.int64]:
    """The columns of the best units of each query, the best first, `(n queries, <= depth)`.

    Columns stand for ids in ascending order; of equal scores the last column comes first. -1 fills
    the rows of queries with fewer units in the run.
    """
    n = scores.shape[1]
    parts = [np.empty((0, min(depth, n)), np.int64)]
    for at in range(0, len(scores), _ROWS):
        rows = scores[at : at + _ROWS, ::-1]
        order = np.argsort(-rows, axis=1, kind="stable")[:, :depth]
        listed = np.take_along_axis(rows, order, axis=1) > -np.inf
        parts.append(np.where(listed, n - 1 - order, -1))
    return np.concatenate(parts)


def measure_rankings(
    one: Slice, scores: Floats, best: NDArray[np.int64], metrics: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """The value of each metric for each query of a slice, `(n queries,)`.

    Args:
        one: the slice, which knows what is relevant.
        scores: of its units, `(n queries, n units)`.
        best: the columns that `top` gives, as many as the longest cutoff.
        metrics: names such as "ndcg@10".
    """
    require("pytrec_eval", "evaluate")
    import pytrec_eval

    units = np.array(one.units, object)
    asked = {
        query.id: dict(grades) for query, grades in zip(one.queries, one.relevant, strict=True)
    }
    evaluator = pytrec_eval.RelevanceEvaluator(asked, _measures(metrics))
    found: dict[str, dict[str, float]] = {}
    for at in range(0, len(best), _ROWS):
        run = {}
        for query, row, columns in zip(
            one.queries[at : at + _ROWS],
            scores[at : at + _ROWS],
            best[at : at + _ROWS],
            strict=True,
        ):
            listed = columns[columns >= 0]
            run[query.id] = dict(zip(units[listed], row[listed].tolist(), strict=True))
        found |= evaluator.evaluate(run)
    values = {}
    for metric in metrics:
        name, _, k = metric.partition("@")
        key = _TREC[name].format(k=k)
        column = np.array([found.get(query.id, {}).get(key, 0.0) for query in one.queries])
        if name == "mrr":  # trec_eval's has no cutoff; a rank beyond it is worth nothing
            column[column * int(k) < 1 - 1e-9] = 0.0
        values[metric] = column
    return values


def _measures(metrics: Sequence[str]) -> set[str]:
    """trec_eval's names, cutoffs of one measure together: "recall.1,10,100"."""
    cutoffs: dict[str, set[int]] = {}
    for metric in metrics:
        name, _, k = metric.partition("@")
        cutoffs.setdefault(name, set()).add(int(k))
    names = {"ndcg": "ndcg_cut.", "recall": "recall.", "mrr": "recip_rank"}
    return {
        names[name] + ("" if name == "mrr" else ",".join(map(str, sorted(ks))))
        for name, ks in cutoffs.items()
    }
