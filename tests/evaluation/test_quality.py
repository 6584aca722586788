"""benchmarks/quality.py: its tables have the library's values; only marked places are rewritten."""

import importlib
import re
import shutil
import sys
from collections import Counter

import numpy as np
import pytest

from m3rag.evaluation import RetrievalSet, measure, score
from tests.docs.blocks import ROOT
from tests.evaluation.conftest import FOLDER

PAGE = ROOT / "benchmarks" / "quality-notes.md"


@pytest.fixture(scope="module")
def quality():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield importlib.import_module("quality")
    for name in ("quality", "tuning"):
        del sys.modules[name]


def plain(text):
    """Return the text without its tables."""
    return re.sub(r"(<!-- quality: \w+ -->).*?(<!-- end -->)", r"\1\2", text, flags=re.DOTALL)


def test_pooled_scores_are_those_of_the_whole_corpus(quality, tiny, xquad, scores):
    views = ("dense", "sparse", "colbert")
    expected = score(tiny, xquad, pairs="pooled", channels=views)
    found = quality.pooled(scores)
    (one,), (other,) = found.slices, expected.slices
    assert one.slice.units == other.slice.units
    assert one.slice.passages == other.slice.passages
    assert one.slice.relevant == other.slice.relevant
    np.testing.assert_array_equal(one.slice.starts, other.slice.starts)
    for view in views:
        np.testing.assert_allclose(one.channels[view], other.channels[view], atol=1e-6)
    values, wanted = (measure(s, weights=["default"]).values["default"] for s in (found, expected))
    np.testing.assert_allclose(values["ndcg@10"], wanted["ndcg@10"])


def test_nothing_is_pooled_where_a_question_lacks_an_answer(quality, tiny, xquad):
    relevant = {name: dict(grades) for name, grades in xquad.qrels.items()}
    name = next(iter(relevant))
    relevant[name].popitem()
    data = RetrievalSet("some", xquad.corpus, xquad.queries, relevant)
    assert quality.pooled(score(tiny, data, channels=("dense",))) is None


def test_share_of_the_query_language(quality, scores, xquad):
    tuning = importlib.import_module("tuning")
    (one,) = quality.pooled(scores).slices
    languages = {document.id: document.language for document in xquad.corpus}
    weights = {"dense": 1.0, "colbert": 2.0}
    shares = tuning.same_language(one, weights, languages)
    ranked = one.ranked(weights)
    for query, row, share in zip(one.slice.queries, ranked, shares, strict=True):
        best = sorted(zip(row, one.slice.units, strict=True), reverse=True)[:10]
        assert share == Counter(languages[unit] for _, unit in best)[query.language] / 10


def test_the_command_fills_the_page(quality, tmp_path, monkeypatch, capsys):
    shutil.copytree(FOLDER, tmp_path / "data" / "xquad")
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    arguments = [str(tmp_path / "data"), "--every", "2", "--seeds", "1", "--output", str(page)]
    monkeypatch.setattr(sys, "argv", ["quality.py", *arguments])
    quality.main()
    errors, first = capsys.readouterr().err, page.read_text(encoding="utf-8")
    assert "has no set tatoeba: skipped" in errors
    assert plain(first) == plain(PAGE.read_text(encoding="utf-8"))
    assert "| xquad | 36 | 36 | 2 | 11 | 99 |" in first
    rows = re.findall(r"^\| ([\w/.-]+) \|(?: [01]\.\d{3} \|){6}$", first, re.MULTILINE)
    assert rows == [
        *("dense", "sparse", "colbert", "bm25", "default", "long-document", "cross-lingual"),
        *("0.1/0.3/1", "rrf", "0.05/0.5/1/0.013"),
    ]
    assert first.count("<td style=") == 9
    assert re.search(r"^\| 5 \| 0\.\d+ \| none \|", first, re.MULTILINE)
    quality.main()
    assert page.read_text(encoding="utf-8") == first


def test_means_and_pairs_are_the_report_s(quality, report):
    found = quality.means_table(report)
    cross = " | ".join(f"{report.cross['colbert'][m]:.3f}" for m in quality.METRICS)
    assert f"| {cross} |" in next(r for r in found.splitlines() if r.startswith("| colbert |"))
    heat = quality.pairs_table(report, "default")
    row = next(line for line in heat.splitlines() if line.startswith("<tr><th>es<"))
    values = [f"{report.pairs[f'es-{d}']['default']['ndcg@10']:.2f}" for d in ("en", "es", "zh")]
    assert re.findall(r">([\d.]+)</td>", row) == values


def test_a_page_without_its_markers_is_reported_before_the_work(quality, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("# Quality\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["quality.py", str(tmp_path), "--output", str(page)])
    with pytest.raises(SystemExit, match="0 places marked <!-- quality: run -->"):
        quality.main()


def test_a_folder_without_any_set_is_reported(quality, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["quality.py", str(tmp_path), "--output", str(PAGE)])
    with pytest.raises(SystemExit, match="none of xquad"):
        quality.main()
