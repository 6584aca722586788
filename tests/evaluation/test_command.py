"""`m3rag evaluate`, run from its command line."""

import json

import pytest

from tests.evaluation.conftest import FOLDER


@pytest.fixture
def evaluate(m3rag, monkeypatch):
    """Return a function that runs `m3rag evaluate …` here: (exit code, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments, source=FOLDER):
        return m3rag("evaluate", source, "--model", "tiny", *arguments)

    return run


def test_json_html_and_runs(evaluate, tmp_path):
    code, out, _ = evaluate(
        "--every", 11, "--weights", "1/0.3/1", "--weights", "rrf",
        "--json", "--html", tmp_path / "report.html", "--runs", tmp_path / "runs",
    )  # fmt: skip
    assert code == 0
    found = json.loads(out)
    assert list(found) == ["set", "model", "channels", "same", "cross", "pairs"]
    assert list(found["channels"]) == ["dense", "sparse", "colbert", "bm25", "1/0.3/1", "rrf"]
    assert found["pairs"].keys() >= {"en-zh", "zh-en"}
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert len(list((tmp_path / "runs").glob("*.trec"))) == 6

    run = tmp_path / "runs" / "colbert.trec"
    code, out, _ = evaluate("--every", 11, "--run", run, "--json")
    again = json.loads(out)
    assert again["model"] == "colbert"
    assert again["channels"] == {"colbert": found["channels"]["colbert"]}

    other = tmp_path / "runs" / "bm25.trec"
    code, out, _ = evaluate("--every", 11, "--run", run, "--against", other, "--json")
    difference = json.loads(out)["against"]["colbert"]["ndcg@10"]
    channels = found["channels"]
    expected = channels["colbert"]["ndcg@10"] - channels["bm25"]["ndcg@10"]
    assert difference["mean"] == pytest.approx(expected)


def test_the_table_fits_a_terminal(evaluate):
    code, out, err = evaluate("--every", 11, "--against", "dense")
    assert code == 0
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert {"dense", "bm25", "long-document", "cross-lingual", "rrf"} <= rows.keys()
    assert "…" not in out
    assert "18 rankings, 9 pairs of languages" in out
    assert "nDCG@10 against dense" in out
    assert "measuring rankings" in err


def test_passages_and_some_pairs(evaluate):
    code, out, _ = evaluate(
        "--level", "passage", "--pairs", "en-es,es-en", "--channels", "dense,bm25", "--every", 11,
        "--metrics", "recall@3,mrr@5", "--json",
    )  # fmt: skip
    assert code == 0
    found = json.loads(out)
    assert found["pairs"].keys() == {"en-es", "es-en"}
    assert found["same"] == {}
    assert list(found["channels"]["bm25"]) == ["recall@3", "mrr@5"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "1/x/1"], "--weights '1/x/1' is neither a name nor numbers"),
        (["--weights", "best"], "Unknown weights 'best'"),
        (["--metrics", "map"], "'map' is not a metric"),
        (["--run", "none.trec"], "There is no run file"),
        (["--run", "none.trec", "--context", "document"], "--context, --mcls and --aggregate"),
        (["--run", "none.trec", "--mcls", "256"], "--context, --mcls and --aggregate"),
        (["--run", "none.trec", "--aggregate", "sum"], "--context, --mcls and --aggregate"),
        (["--mcls", "0"], "`mcls` must be an integer of at least 1"),
        (["--aggregate", "mean"], "`aggregate` must be one of max, sum, got 'mean'"),
        (
            ["--run", "none.trec", "--level", "passage"],
            "--run evaluates finished rankings of documents",
        ),
        (["--every", "11", "--channels", "bm25", "--against", "x"], "neither a TREC run file"),
    ],
)
def test_errors(arguments, message, evaluate):
    code, _, err = evaluate(*arguments)
    assert code == 1
    assert message in " ".join(err.split())


def test_no_such_set(evaluate, tmp_path):
    code, _, err = evaluate(source=tmp_path)
    assert code == 1
    assert "it is not a retrieval set" in " ".join(err.split())
