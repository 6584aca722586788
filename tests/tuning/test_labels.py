"""Labelled questions and pseudo-questions, and their scores in an index."""

import json

import numpy as np
import pytest

from m3rag import M3Index, Passage
from m3rag.errors import InputError
from m3rag.evaluation.dataset import Query
from m3rag.index.presets import Preset
from m3rag.tuning import Labelled, index_scores, pseudo_questions, read_labelled
from m3rag.tuning.objective import Objective

# Scores in an index


@pytest.fixture(scope="module")
def filled(tiny, xquad):
    """An index of the documents of the set, each in two passages."""
    with M3Index.open(model=tiny) as index:
        for document in xquad.corpus:
            half = len(document.text) // 2
            parts = document.text[:half], document.text[half:]
            index.add(
                Passage(f"{document.id}#{i}", part, document_id=document.id)
                for i, part in enumerate(parts)
            )
        yield index


def test_an_index_is_scored_as_it_searches(filled, xquad):
    queries = xquad.queries[::5]
    labelled = Labelled("xquad", queries, xquad.qrels)
    scores = index_scores(filled, labelled)
    assert scores.level == "document"
    assert scores.channels == filled.channels
    weights = scores.presets["cross-lingual"]
    objective = Objective(scores).values(Preset(weights))
    for query, value in zip(queries, objective, strict=True):
        hits = filled.search(query.text, 72, weights="cross-lingual")
        documents = list(dict.fromkeys(hit.passage.document_id for hit in hits))[:10]
        relevant = xquad.qrels[query.id]
        ranks = [rank for rank, document in enumerate(documents, 1) if document in relevant]
        gain = sum(1 / np.log2(rank + 1) for rank in ranks)
        ideal = sum(1 / np.log2(rank + 1) for rank in range(1, min(10, len(relevant)) + 1))
        assert value == pytest.approx(gain / ideal, abs=1e-6)


def test_answers_may_be_passages(filled, xquad):
    query = xquad.queries[0]
    answer = f"{next(iter(xquad.qrels[query.id]))}#0"
    scores = index_scores(filled, Labelled("one", [query], {query.id: {answer: 1}}))
    assert scores.level == "passage"
    assert scores.slices[0].slice.relevant == [{answer: 1}]


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        ({"q": {"nowhere": 1}}, "1 of 1 answers are neither passages nor documents"),
        ({"q": {"x00.0-en": 1, "x00.0-en#0": 1}}, "Use ids of one kind"),
        ({"q": {"x00.0-en": 0}}, "No question of 'set' has an answer"),
    ],
)
def test_invalid_answers(qrels, message, filled):
    with pytest.raises(InputError, match=message):
        index_scores(filled, Labelled("set", [Query("q", "Who?")], qrels))


# Labelled questions


def test_reads_lines_of_questions(tmp_path):
    path = tmp_path / "asked.jsonl"
    rows = [
        {"question": "Who?", "document_id": "a.md"},
        {"question": "¿Qué?", "passage_id": ["b#1", "b#2"], "id": "7", "lang": "es"},
        {"question": "What?", "passage_id": "b#1", "id": "7", "lang": "en"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    labelled = read_labelled(path)
    assert labelled.name == "asked"
    assert [query.text for query in labelled.queries] == ["Who?", "¿Qué?", "What?"]
    assert [query.question for query in labelled.queries] == ["line 1", "7", "7"]
    assert list(labelled.qrels.values()) == [{"a.md": 1}, {"b#1": 1, "b#2": 1}, {"b#1": 1}]


def test_reads_a_set_without_its_corpus(tmp_path, xquad):
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "Who?"}\n')
    (tmp_path / "qrels.tsv").write_text("q\td\t2\n")
    labelled = read_labelled(tmp_path)
    assert (labelled.queries, labelled.qrels) == ([Query("q", "Who?")], {"q": {"d": 2}})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"document_id": "a"}', 'line 1: "question" is missing, empty or not a string'),
        ('{"question": "Who?"}', "must be an id or a list of ids, got None"),
        ('{"question": "Who?", "document_id": []}', r"got \[\]"),
        ("no", "line 1 is not JSON"),
        ('{"question": "Who?", "document_id": "a", "id": "1"}\n' * 2, "occurs a second time"),
    ],
)
def test_lines_that_are_not_questions(line, message, tmp_path):
    path = tmp_path / "asked.jsonl"
    path.write_text(line)
    with pytest.raises(InputError, match=message):
        read_labelled(path)


def test_no_such_questions(tmp_path):
    with pytest.raises(InputError, match="Labelled questions are a folder"):
        read_labelled(tmp_path / "none.jsonl")


# Pseudo-questions


LONG = "It is followed by enough text to be found again, whatever was cut off."


@pytest.fixture
def sections(tiny):
    with M3Index.open(model=tiny) as index:
        index.add(
            [
                Passage("1", f"# Plants\n\n## Ferns\n\nShade first. {LONG}", headings=("Plants",)),
                Passage("2", f"## Cacti\n\nSun first. {LONG}", headings=("Plants", "Cacti")),
                Passage("3", f"## Index\n\nOne. {LONG}", headings=("Index",)),
                Passage("4", f"## Index\n\nTwo. {LONG}", headings=("Index",)),
                Passage("5", f"Sun first. {LONG}"),
                Passage("6", "## Short\n\nToo short.", headings=("Short",)),
            ]
        )
        yield index


def test_headings_become_questions_and_are_cut_off(sections):
    index, labelled = pseudo_questions(sections, "headings")
    assert {query.id: query.text for query in labelled.queries} == {"1": "Plants", "2": "Cacti"}
    assert labelled.qrels == {"1": {"1": 1}, "2": {"2": 1}}
    assert labelled.name == "pseudo-headings"
    texts = {passage.id: passage.text for passage in index.passages()}
    assert texts["2"] == f"Sun first. {LONG}"
    assert texts["3"] == f"One. {LONG}"
    assert texts["6"] == "## Short\n\nToo short."
    assert len(sections) == len(index) == 6


def test_first_sentences_that_occur_once_become_questions(sections):
    index, labelled = pseudo_questions(sections, "sentences")
    questions = {query.id: query.text for query in labelled.queries}
    assert questions == {"1": "## Ferns", "3": "One.", "4": "Two."}
    assert {passage.text for passage in index.get(["3", "4", "5"])} == {LONG}


def test_no_pseudo_questions(sections, tiny):
    with pytest.raises(InputError, match="`kind` must be one of headings, sentences, got 'titles'"):
        pseudo_questions(sections, "titles")
    with (
        M3Index.open(model=tiny) as empty,
        pytest.raises(InputError, match="no headings that belong to only one of its 0 passages"),
    ):
        pseudo_questions(empty, "headings")
