"""benchmarks/quality.py: its tables have the library's values; only marked places are rewritten."""

import importlib
import re
import shutil
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from m3rag.encoding import CHANNELS
from m3rag.evaluation import RetrievalSet, measure, score
from m3rag.model.lookup import BUNDLED
from tests.docs.blocks import ROOT
from tests.evaluation.conftest import FOLDER

PAGES = [ROOT / "benchmarks" / "quality-notes.md", ROOT / "docs" / "quality.md"]


@pytest.fixture(scope="module")
def quality():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield importlib.import_module("quality")
    for name in ("quality", "comparison", "longdocs", "tuning"):
        del sys.modules[name]


def plain(text):
    """Return the text without its tables."""
    return re.sub(r"(<!-- quality: [\w-]+ -->).*?(<!-- end -->)", r"\1\2", text, flags=re.DOTALL)


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


def test_the_command_fills_the_pages(quality, tmp_path, monkeypatch, capsys):
    shutil.copytree(FOLDER, tmp_path / "data" / "xquad")
    pages = [tmp_path / "notes.md", tmp_path / "guide.md"]
    for page, original in zip(pages, PAGES, strict=True):
        page.write_text(original.read_text(encoding="utf-8"), encoding="utf-8")
    models = ["--model", "tiny", "--beside", str(BUNDLED["tiny"])]
    arguments = [str(tmp_path / "data"), *models, "--every", "2", "--seeds", "1", "--pages"]
    monkeypatch.setattr(sys, "argv", ["quality.py", *arguments, *map(str, pages)])
    quality.main()
    errors = capsys.readouterr().err
    first, guide = (page.read_text(encoding="utf-8") for page in pages)
    assert "has no set tatoeba: skipped" in errors
    for text, original in zip((first, guide), PAGES, strict=True):
        assert plain(text) == plain(original.read_text(encoding="utf-8"))
    assert "| xquad | 36 | 36 | 2 | 11 | 99 |" in first
    rows = re.findall(r"^\| ([\w/.-]+) \|(?: [01]\.\d{3} \|){6}$", first, re.MULTILINE)
    presets = ("default", "long-document", "cross-lingual", "same-language")
    assert rows == ["dense", "sparse", "colbert", "bm25", *presets, "rrf"]
    assert first.count("<td style=") == 9
    assert re.search(r"^\| 5 \| 0\.\d+ \| none \|", first, re.MULTILINE)
    quality.main()
    assert [page.read_text(encoding="utf-8") for page in pages] == [first, guide]


def test_models_are_compared_with_the_first_one(quality, report):
    comparison = importlib.import_module("comparison")
    text = comparison.models_table({"one": {"xquad": report}, "two": {"xquad": report}})
    head, _, *rows = (line.strip("| ").split(" | ") for line in text.splitlines())
    assert head == ["model", "", "xquad, same", "xquad, cross"]
    assert [row[:2] for row in rows[:4]] == [["one", v] for v in (*CHANNELS, "default")]
    assert [row[1:] for row in rows[4:8]] == [row[1:] for row in rows[:4]]
    assert rows[8][0] == "bm25"
    same, cross = report.same["dense"], report.cross["dense"]
    assert rows[0][2:] == [f"{p['recall@1']:.3f} / {p['recall@10']:.3f}" for p in (same, cross)]


def test_the_check_names_what_beats_the_fusion(quality, report):
    comparison = importlib.import_module("comparison")
    values = {name: dict(report.values[name]) for name in report.values}
    better = {metric: np.ones_like(v) for metric, v in values["sparse"].items()}
    worse = {metric: np.zeros_like(v) for metric, v in values["default"].items()}
    for name, changed, verdict in (("sparse", better, "**no**"), ("default", worse, "**no**")):
        changed_report = replace(report, values={**values, name: changed})
        lines = comparison.check_table({"xquad": changed_report}).splitlines()[2:]
        assert [line.strip("| ").split(" | ")[-1] for line in lines] == [verdict, verdict]
    best = {metric: np.ones_like(v) for metric, v in values["default"].items()}
    text = comparison.check_table({"xquad": replace(report, values={**values, "default": best})})
    assert text.count("| yes |") == 2
    assert "| xquad, cross | " in text


def test_presets_are_shown_with_their_weights(quality, report):
    comparison = importlib.import_module("comparison")
    presets = {"default": {"dense": 0.2, "colbert": 1.0}}
    first, second = comparison.presets_table({"xquad": report}, presets).splitlines()[2:]
    values = " | ".join(f"{p['default']['ndcg@10']:.3f}" for p in (report.same, report.cross))
    assert first == f'| `"default"` | 0.2/0/1/0 | {values} |'
    assert second.startswith("| reciprocal rank fusion |  | ")


def test_long_documents_are_summed_up_by_document(quality):
    longdocs = importlib.import_module("longdocs")
    rows = [
        ["document", "passages", "dense", "0.1", "0.2"],
        ["document", "passages", "long-document", "0.3", "0.4"],
        ["passage", "passages", "long-document", "0.5", "0.6"],
    ]
    assert longdocs.summary(rows).splitlines()[2:] == ["| passages | 0.3 | 0.4 |"]


def test_means_and_pairs_are_the_report_s(quality, report):
    found = quality.means_table(report)
    cross = " | ".join(f"{report.cross['colbert'][m]:.3f}" for m in quality.METRICS)
    assert f"| {cross} |" in next(r for r in found.splitlines() if r.startswith("| colbert |"))
    heat = quality.pairs_table(report, "default")
    row = next(line for line in heat.splitlines() if line.startswith("<tr><th>es<"))
    values = [f"{report.pairs[f'es-{d}']['default']['ndcg@10']:.2f}" for d in ("en", "es", "zh")]
    assert re.findall(r">([\d.]+)</td>", row) == values


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# Quality\n", "no <!-- quality: … -->"),
        ("<!-- quality: speed -->\n<!-- end -->\n", "<!-- quality: speed -->"),
        ("<!-- quality: run -->\n<!-- end -->\n" * 2, "<!-- quality: run -->"),
    ],
)
def test_wrong_markers_are_reported_before_the_work(quality, tmp_path, monkeypatch, text, found):
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["quality.py", str(tmp_path), "--pages", str(page)])
    with pytest.raises(SystemExit, match=f"page.md has {found}; it needs one or more of run, "):
        quality.main()


def test_a_folder_without_any_set_is_reported(quality, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["quality.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="none of xquad"):
        quality.main()
