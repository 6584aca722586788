"""Means over cells, intervals and differences, computed from the values of single queries."""

import json

import numpy as np
import pytest
from scipy.stats import ttest_rel

from m3rag.errors import InputError
from m3rag.evaluation import CorpusDocument, Query, RetrievalSet, evaluate, measure, score
from m3rag.evaluation.statistics import Layout

CHANNELS = ["dense", "sparse", "colbert", "bm25"]
FUSIONS = ["default", "long-document", "cross-lingual", "same-language", "rrf"]


def test_the_json_has_the_form_that_was_agreed(report):
    found = json.loads(json.dumps(report.to_dict()))
    assert list(found) == ["set", "model", "channels", "same", "cross", "pairs"]
    assert (found["set"], found["model"]) == ("data", "tiny")
    languages = ("en", "es", "zh")
    assert set(found["pairs"]) == {f"{a}-{b}" for a in languages for b in languages}
    for table in (found["channels"], found["same"], found["cross"], *found["pairs"].values()):
        assert list(table) == CHANNELS + FUSIONS
        for row in table.values():
            assert list(row) == ["ndcg@10", "recall@1", "recall@10", "recall@100", "mrr@10"]
            assert all(0 <= value <= 1 for value in row.values())


def test_means_are_over_pairs(report):
    pairs = report.pairs
    same = [table for pair, table in pairs.items() if pair in ("en-en", "es-es", "zh-zh")]
    cross = [table for pair, table in pairs.items() if table not in same]
    assert len(cross) == 6
    for name in CHANNELS + FUSIONS:
        for metric in report.metrics:
            for found, tables in (
                (report.same, same),
                (report.cross, cross),
                (report.channels, list(pairs.values())),
            ):
                mean = np.mean([table[name][metric] for table in tables])
                assert found[name][metric] == pytest.approx(mean)


def test_the_query_s_language_comes_first(tiny):
    """A German word occurs in a German document and in no English one."""
    corpus = [CorpusDocument("de1", "Wasserpumpe", "de"), CorpusDocument("en1", "fern", "en")]
    data = RetrievalSet(
        "one", corpus, [Query("q", "Wasserpumpe", "de")], {"q": {"de1": 1, "en1": 1}}
    )
    report = evaluate(tiny, data, channels=["sparse"])
    assert report.pairs["de-de"]["sparse"]["recall@1"] == 1.0
    assert report.pairs["de-en"]["sparse"]["recall@1"] == 0.0


def test_same_language_is_easier_than_another(report):
    """Even the small model must show this much."""
    assert report.same["colbert"]["ndcg@10"] > 0.8
    assert report.same["bm25"]["ndcg@10"] > report.cross["bm25"]["ndcg@10"] + 0.3
    assert report.cross["colbert"]["ndcg@10"] > report.cross["bm25"]["ndcg@10"]


def test_pooled_has_no_same_and_cross(tiny, xquad):
    report = evaluate(tiny, xquad, channels=["dense"], pairs="pooled", every=11)
    assert set(report.pairs) == {"en-all", "es-all", "zh-all"}
    assert (report.same, report.cross) == ({}, {})


def test_intervals_hold_the_mean_and_narrow_with_questions(report):
    for name, row in report.channels.items():
        for metric, (low, high) in report.intervals[name].items():
            assert low <= row[metric] <= high
    assert report.intervals == report.intervals


def test_an_interval_is_as_wide_as_theory_says():
    rng = np.random.default_rng(3)
    values = rng.random(400)
    layout = Layout(np.arange(400), np.zeros(400, np.int64))
    low, high = layout.interval(values, [0])
    error = values.std() / 20
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    # Four copies of each question carry no more information than one.
    four = Layout(np.tile(np.arange(400), 4), np.repeat(np.arange(4), 400))
    assert four.interval(np.tile(values, 4), [0, 1, 2, 3]) == pytest.approx((low, high))


def test_an_interval_where_a_draw_may_miss_a_cell():
    layout = Layout(np.array([0, 1, 2, 0]), np.array([0, 0, 0, 1]))
    low, high = layout.interval(np.array([0.0, 1.0, 1.0, 0.5]), [0, 1])
    assert 0 <= low < high <= 1


def test_significance_agrees_with_the_t_test():
    rng = np.random.default_rng(5)
    layout = Layout(np.arange(80), np.zeros(80, np.int64))
    for shift in (0.0, 0.05, 0.2):
        first, second = rng.normal(shift, 0.2, 80), rng.normal(0, 0.2, 80)
        expected = ttest_rel(first, second).pvalue
        assert layout.significance(first - second, [0]) == pytest.approx(expected, abs=0.03)


def test_a_difference_of_copies_is_no_more_significant():
    rng = np.random.default_rng(5)
    difference = rng.normal(0.05, 0.2, 40)
    once = Layout(np.arange(40), np.zeros(40, np.int64)).significance(difference, [0])
    nine = Layout(np.tile(np.arange(40), 9), np.repeat(np.arange(9), 40))
    assert nine.significance(np.tile(difference, 9), list(range(9))) == pytest.approx(
        once, abs=0.02
    )


def test_compare_with_itself_and_with_a_baseline(report):
    for row in report.compare(report).values():
        for found in row.values():
            assert (found.mean, found.low, found.high, found.p) == (0, 0, 0, 1)
    found = report.compare(report, to="bm25")["colbert"]["ndcg@10"]
    row = report.channels
    assert found.mean == pytest.approx(row["colbert"]["ndcg@10"] - row["bm25"]["ndcg@10"])
    assert 0 < found.low < found.mean < found.high
    assert found.p < 0.01


def test_compare_meets_the_same_rankings_in_any_order(tiny, xquad, report):
    turned = RetrievalSet("data", xquad.corpus, xquad.queries[::-1], xquad.qrels)
    other = evaluate(tiny, turned, channels=["dense"])
    found = report.compare(other)
    assert list(found) == ["dense"]
    assert found["dense"]["mrr@10"].mean == pytest.approx(0, abs=1e-9)


def test_reports_that_cannot_be_compared(tiny, xquad, report):
    half = evaluate(tiny, xquad, channels=["dense"], every=2)
    with pytest.raises(InputError, match="different rankings: 198 and 99, 99 of them in common"):
        report.compare(half)
    with pytest.raises(InputError, match=r"There is no channel 'colbert'\. The channels are dense"):
        report.compare(half, to="colbert")
    with pytest.raises(
        InputError, match=r"no channel in common: bm25 and dense\. Use `to` to name"
    ):
        evaluate(tiny, xquad, channels=["bm25"], every=2).compare(half)


def test_overlap_is_the_share_of_the_top_in_common(scores, report):
    one = scores.slices[0]
    tops = {name: np.argsort(-one.ranked(name), axis=1)[:, :10] for name in ("dense", "colbert")}
    alone = measure(type(scores)("data", "tiny", "document", False, [one]), weights=[])
    shares = [len({*a} & {*b}) / 10 for a, b in zip(*tops.values(), strict=True)]
    assert alone.overlap["dense", "colbert"] == pytest.approx(np.mean(shares))
    assert all(0 <= share <= 1 for share in report.overlap.values())


def test_recall_rises_with_the_depth(report):
    for recall in report.curve.values():
        values = list(recall.values())
        assert values == sorted(values)
        assert values[0] < values[-1] <= 1


def test_passages_are_harder_than_documents(passage_scores, report):
    passages = measure(passage_scores)
    assert passages.level == "passage"
    assert passages.same["colbert"]["recall@1"] < report.same["colbert"]["recall@1"]


def test_weights_by_number_are_a_row_of_that_name(scores):
    report = measure(scores, weights=["default", (0.2, 0.3, 1), (1, 0.3, 1, 0.5), {"dense": 2}])
    rows = report.channels
    assert list(rows) == [*CHANNELS, "default", "0.2/0.3/1", "1/0.3/1/0.5", "2/0/0"]
    assert rows["0.2/0.3/1"] == rows["default"]
    assert rows["2/0/0"] == rows["dense"]


def test_scores_can_be_fused_again_without_a_model(tiny, xquad):
    scored = score(tiny, xquad, every=11)
    encoded = tiny.encoded
    assert measure(scored, weights=[(0.2, 0.3, 0.5)]).channels["0.2/0.3/0.5"]["recall@100"] == 1
    assert tiny.encoded == encoded
