"""The values are those of trec_eval, also for ties."""

import math

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from m3rag.errors import InputError
from m3rag.evaluation import METRICS, Query, Slice, measure, read_run, write_runs
from m3rag.evaluation.metrics import check_metrics, measure_rankings, top

UNITS = [f"d{i:02d}" for i in range(12)]
SCORES = st.lists(
    st.lists(st.sampled_from([0.0, 0.5, 0.25, 1.0, -math.inf]), min_size=12, max_size=12),
    min_size=1,
    max_size=4,
)
GRADES = st.dictionaries(st.sampled_from(UNITS), st.integers(1, 3), min_size=1, max_size=6)


def slice_of(grades):
    queries = [Query(f"q{i}", "") for i in range(len(grades))]
    return Slice("", "en", UNITS, [], np.zeros(0, np.int64), queries, grades, 0)


@settings(max_examples=100, deadline=None)
@given(scores=SCORES, data=st.data())
def test_values_follow_from_the_definitions(scores, data):
    grades = data.draw(st.lists(GRADES, min_size=len(scores), max_size=len(scores)))
    matrix = np.array(scores, np.float32)
    names = ("ndcg@3", "recall@1", "recall@5", "mrr@2")
    values = measure_rankings(slice_of(grades), matrix, top(matrix, 5), names)
    for row, relevant in enumerate(grades):
        listed = [(s, unit) for s, unit in zip(scores[row], UNITS, strict=True) if s > -math.inf]
        ranking = [unit for _, unit in sorted(listed, reverse=True)]  # ties: the last id first
        gains = [relevant.get(unit, 0) for unit in ranking]
        ideal = sorted(relevant.values(), reverse=True)
        dcg, best = (
            sum(g / math.log2(rank + 1) for rank, g in enumerate(ordered[:3], 1))
            for ordered in (gains, ideal)
        )
        hits = [rank for rank, gain in enumerate(gains, 1) if gain]
        expected = {
            "ndcg@3": dcg / best,
            "recall@1": sum(rank <= 1 for rank in hits) / len(relevant),
            "recall@5": sum(rank <= 5 for rank in hits) / len(relevant),
            "mrr@2": 1 / hits[0] if hits and hits[0] <= 2 else 0.0,
        }
        assert {name: values[name][row] for name in names} == pytest.approx(expected, abs=1e-6)


def test_the_report_is_what_pytrec_eval_says_of_the_run_files(scores, report, xquad, tmp_path):
    language = {document.id: document.language for document in xquad.corpus}
    evaluator = {
        lang: pytrec_eval.RelevanceEvaluator(
            {
                query: {d: g for d, g in grades.items() if language[d] == lang}
                for query, grades in xquad.qrels.items()
            },
            {"ndcg_cut.10", "recall.1,10,100"},
        )
        for lang in xquad.languages
    }
    for path in write_runs(scores, tmp_path):
        tag, run = read_run(path)
        for pair, table in report.pairs.items():
            asked, answered = pair.split("-")
            sliced = {
                query: {d: s for d, s in ranking.items() if language[d] == answered}
                for query, ranking in run.items()
                if query.endswith(f"-{asked}")
            }
            values = evaluator[answered].evaluate(sliced).values()
            for ours, theirs in (("ndcg@10", "ndcg_cut_10"), ("recall@1", "recall_1")):
                mean = sum(value[theirs] for value in values) / 22
                assert table[tag][ours] == pytest.approx(mean, abs=1e-6), (pair, tag, ours)


def test_best_units_come_in_order_and_ties_by_id():
    inf = -np.inf
    matrix = np.array([[1, 3, 3, 2], [inf, 0, inf, 0], [inf] * 4], np.float32)
    np.testing.assert_array_equal(top(matrix, 3), [[2, 1, 3], [3, 1, -1], [-1, -1, -1]])
    assert top(matrix[:0], 3).shape == (0, 3)


def test_any_cutoff(scores):
    report = measure(scores, weights=[], metrics=["mrr@3", "recall@7"])
    assert list(report.channels["dense"]) == ["mrr@3", "recall@7"]
    assert check_metrics(METRICS) == 100


@pytest.mark.parametrize("name", ["ndcg", "map@10", "recall@0", "recall@x", "ndcg@10 "])
def test_unknown_metrics(name):
    with pytest.raises(InputError, match=r"is not a metric\. Use ndcg@k"):
        check_metrics([name])


def test_no_metrics():
    with pytest.raises(InputError, match="`metrics` must name at least one metric"):
        check_metrics([])
