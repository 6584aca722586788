"""`m3rag tune`, run from its command line."""

import json
import random

import pytest

from m3rag import M3Index, Passage
from m3rag.scoring import PRESETS
from tests.evaluation.conftest import FOLDER


@pytest.fixture
def m3rag(m3rag, monkeypatch):
    """A function that runs `m3rag …` on 80 columns: (exit code, stdout, stderr on one line)."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments):
        code, out, err = m3rag(*arguments)
        return code, out, " ".join(err.split())

    return run


NUMBERS = [str(7919 * i + 1000) for i in range(1, 61)]


def words(n, seed):
    """Return n words of a vocabulary that all passages and questions share."""
    common = "hall shelf item box lamp table chair door red blue green small large wood steel glass"
    return " ".join(random.Random(seed).choices(common.split(), k=n))


@pytest.fixture(scope="module")
def kb(tiny, tmp_path_factory):
    """Passages that differ only in a number, which idf weights highest."""
    kb = tmp_path_factory.mktemp("kbs") / "kb"
    texts = [f"{words(20, seed=i)} {number} {words(20, -i)}" for i, number in enumerate(NUMBERS)]
    with M3Index.open(kb, model=tiny) as index:
        index.add(Passage(str(i), text, document_id=f"{i}.md") for i, text in enumerate(texts))
    return kb


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    path = tmp_path_factory.mktemp("questions") / "items.jsonl"
    rows = [
        {"question": f"{words(15, 100 + i)} {number}?", "document_id": f"{i}.md"}
        for i, number in enumerate(NUMBERS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_learned_weights_are_saved_and_used(m3rag, kb, questions):
    code, out, _ = m3rag("tune", questions, "--in", kb, "--dry-run", "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["kb"], found["set"], found["kind"]) == (str(kb), "items", "questions")
    assert (found["level"], found["questions"], found["name"]) == ("document", 60, "tuned")
    assert found["held_out"].keys() == {*PRESETS, "same-language"}
    assert found["tuned"]
    assert found["held_out"][found["best"]]["low"] > 0
    assert found["preset"]["weights"]["bm25"] > 0
    assert not found["saved"]
    threshold = found["threshold"]
    assert threshold["min_score"] == found["preset"]["min_score"] is not None
    assert threshold["asked"] == 60
    assert threshold["right"] <= threshold["answered"] <= 60
    assert threshold["precision"] > 0.7

    code, _, err = m3rag("ask", "Where?", "--in", kb, "--weights", "items")
    assert code == 1
    assert "Unknown weights 'items'. The presets are \"default\"" in err

    code, out, _ = m3rag("tune", questions, "--in", kb, "--name", "items")
    assert code == 0
    text = " ".join(out.split())
    assert "60 questions of items" in text
    assert "On held-out questions, learned weights are better than" in text
    assert "such a threshold answers" in text
    assert f"Precision {threshold['precision']:.3f} (target 0.9), coverage" in text
    assert text.endswith("--weights items")
    assert "…" not in out.split("Saved.")[0], "the table fits a terminal"

    code, out, _ = m3rag("ask", "Where?", "--in", kb, "--weights", "items", "--json")
    assert code == 0
    scored = {c for c in ("dense", "sparse", "colbert", "bm25") if json.loads(out)["hits"][0][c]}
    learned = {c for c, weight in found["preset"]["weights"].items() if weight}
    assert scored <= learned
    assert json.loads(m3rag("info", "--in", kb, "--json")[1])["presets"] == {
        "items": found["preset"]
    }
    assert "weights items: 60 questions of items" in " ".join(m3rag("info", "--in", kb)[1].split())


def test_few_questions_are_refused(m3rag, kb, questions, tmp_path):
    few = tmp_path / "few.jsonl"
    few.write_text("".join(questions.read_text().splitlines(keepends=True)[:10]))
    for arguments in ([few, "--in", "missing"], [few, "--in", kb]):  # before anything is opened
        code, out, err = m3rag("tune", *arguments, "--name", "few")
        assert (code, out) == (1, "")
        assert "few.jsonl has 10 different questions, and 20 are needed to learn from" in err
    assert m3rag("ask", "Where?", "--in", kb, "--weights", "few")[0] == 1


def test_pseudo_questions_are_labelled_as_such(m3rag, tiny, tmp_path):
    kb = tmp_path / "kb"
    texts = [json.loads(line) for line in (FOLDER / "corpus.jsonl").read_text().splitlines()]
    with M3Index.open(kb, model=tiny) as index:
        index.add(Passage(row["_id"], row["text"].strip()) for row in texts)
    code, out, _ = m3rag("tune", "--in", kb, "--pseudo", "sentences", "--dry-run")
    assert code == 0
    assert "pseudo-questions of pseudo-sentences" in out
    assert "Pseudo-questions are not real questions" in " ".join(out.split())
    _, out, _ = m3rag("tune", "--in", kb, "--pseudo", "sentences", "--dry-run", "--json")
    assert json.loads(out)["kind"] == "pseudo-questions"
    assert json.loads(out)["threshold"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Specify either labelled questions or --pseudo"),
        (["x.jsonl", "--pseudo", "headings"], "Specify either labelled questions or --pseudo"),
        (["x.jsonl"], "There is no file or folder 'x.jsonl'"),
        (["x.jsonl", "--name", "default"], "A preset cannot be named 'default'"),
        (["--pseudo", "titles"], "`kind` must be one of headings, sentences, got 'titles'"),
    ],
)
def test_errors(m3rag, kb, arguments, message):
    code, _, err = m3rag("tune", *arguments, "--in", kb)
    assert code == 1
    assert message in err
