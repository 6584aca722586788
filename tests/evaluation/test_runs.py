"""Rankings that are written and read again have the same values."""

import numpy as np
import pytest

from m3rag.errors import InputError
from m3rag.evaluation import measure, read_run, score_run, write_runs


def test_round_trip(scores, report, xquad, tmp_path):
    paths = write_runs(scores, tmp_path, weights=["default", (0.2, 0.3, 1)])
    assert [path.name for path in paths] == [
        "dense.trec", "sparse.trec", "colbert.trec", "bm25.trec", "default.trec", "0.2_0.3_1.trec",
    ]  # fmt: skip
    for path in paths:
        tag, run = read_run(path)
        again = measure(score_run(run, xquad, name=tag))
        name = "default" if tag == "0.2/0.3/1" else tag
        assert list(again.channels) == [tag]
        assert again.keys == report.keys
        for metric in report.metrics:
            np.testing.assert_array_equal(again.values[tag][metric], report.values[name][metric])


def test_passages_round_trip(passage_scores, xquad, tmp_path):
    (path,) = write_runs(passage_scores, tmp_path, weights=[])[:1]
    tag, run = read_run(path)
    again = measure(score_run(run, xquad, name=tag, like=passage_scores))
    assert again.channels["dense"] == measure(passage_scores, weights=[]).channels["dense"]
    with pytest.raises(InputError, match="documents that the set does not have, such as"):
        score_run(run, xquad, name=tag)


def test_the_lines_are_trec_s(scores, tmp_path):
    path = write_runs(scores, tmp_path / "new", weights=[], depth=2)[0]
    lines = path.read_text().splitlines()
    assert len(lines) == 2 * 3 * 66
    query, zero, document, rank, value, tag = lines[1].split(" ")
    assert query == scores.slices[0].slice.queries[0].id
    assert (zero, rank, tag) == ("Q0", "2", "dense")
    column = scores.slices[0].slice.units.index(document)
    assert np.float32(value) == scores.slices[0].channels["dense"][0, column]


def test_a_sampled_set_takes_its_part_of_a_run(scores, xquad, tmp_path):
    _, run = read_run(write_runs(scores, tmp_path, weights=[])[0])
    report = measure(score_run(run, xquad, every=2, pairs=["en-es"]))
    assert len(report.keys) == 11


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 Q0 d1 1 0.5", "line 1 must have the form `query Q0 document rank score tag`"),
        ("q1 Q0 d1 1 high tag", "line 1 must have the form"),
        ("", "is empty"),
    ],
)
def test_files_that_are_not_runs(line, message, tmp_path):
    path = tmp_path / "some.trec"
    path.write_text(line)
    with pytest.raises(InputError, match=message):
        read_run(path)


def test_a_run_of_another_set(xquad, tmp_path):
    with pytest.raises(InputError, match="There is no run file"):
        read_run(tmp_path / "none")
    with pytest.raises(
        InputError, match="names 1 queries that the set does not have, such as 'q9'"
    ):
        score_run({"q9": {}}, xquad)
    known = xquad.queries[0].id
    with pytest.raises(
        InputError, match="names 2 documents that the set does not have, such as 'd8'"
    ):
        score_run({known: {"d9": 1.0, "d8": 2.0}}, xquad)


@pytest.mark.parametrize("score", ["nan", "inf", "-inf", "1e999", "1e39", "x" * 10_000])
def test_scores_that_are_not_finite_are_refused(tmp_path, score):
    path = tmp_path / "a.trec"
    path.write_text(f"q Q0 d 1 {score} run\n")
    with pytest.raises(InputError, match=r"a\.trec, line 1.*finite score") as caught:
        read_run(path)
    assert len(str(caught.value)) < 600
