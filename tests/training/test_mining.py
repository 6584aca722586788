"""Hard negatives: near misses are found, answers are never taken."""

import json

import pytest

from m3rag.errors import InputError
from m3rag.files import lines
from m3rag.scoring import colbert_scores, dense_scores, sparse_scores
from m3rag.training import mine
from m3rag.training.examples import Examples
from tests.training.conftest import write

FERNS = [
    {"query": "Where do ferns grow?", "pos": ["Ferns grow in the shade of the forest."]},
    {"query": "Where does moss grow?", "pos": ["Moss grows on wet stones."]},
    {"query": "Who sells tickets?", "pos": ["The station sells tickets for all trains."]},
    {"query": "When do trains leave?", "pos": ["Trains leave the station every hour."]},
]
NEAR = "Ferns grow slowly, and there are many kinds of ferns."


def mined(rows, tmp_path, tiny, **options):
    to = tmp_path / "mined.jsonl"
    result = mine(write(tmp_path / "data.jsonl", rows), to, model=tiny, **options)
    return result, [json.loads(line) for line in lines(to)]


def test_near_misses_come_first(tmp_path, tiny):
    corpus = write(
        tmp_path / "corpus.jsonl", [{"_id": "1", "title": "", "text": NEAR}, {"text": "Bread."}]
    )
    result, rows = mined(FERNS, tmp_path, tiny, corpus=corpus, negatives=1, ranks=(1, 1))
    assert [row["query"] for row in rows] == [row["query"] for row in FERNS]
    assert rows[0]["neg"] == [NEAR]
    assert rows[3]["neg"] == FERNS[2]["pos"]
    assert (result.examples, result.negatives, result.without) == (4, 4, 0)
    assert len(Examples([tmp_path / "mined.jsonl"])) == 4


def test_answers_are_never_negatives(rows, tmp_path, tiny):
    examples = rows[:12]
    result, found = mined(examples, tmp_path, tiny, negatives=50, ranks=(1, 50))
    answers: dict[str, set[str]] = {}
    for row in examples:
        answers.setdefault(row["key"], set()).update(row["pos"])
    everything = {text for texts in answers.values() for text in texts}
    for row in found:
        assert set(row["neg"]) == everything - answers[row["key"]]
    assert result.negatives == sum(len(row["neg"]) for row in found)


def test_the_same_question_has_the_same_answers(tmp_path, tiny):
    twice = [*FERNS[:2], {"query": FERNS[0]["query"], "pos": ["In the forest."]}]
    _, rows = mined(twice, tmp_path, tiny, ranks=(1, 9))
    for row in (rows[0], rows[2]):
        assert row["neg"] == FERNS[1]["pos"]


def test_ranks_and_margin(tmp_path, tiny):
    texts = [{"text": f"Ferns of kind {i} grow somewhere."} for i in range(20)]
    corpus = write(tmp_path / "corpus.jsonl", texts)
    everything, first, later = (
        mined(FERNS[:1], tmp_path, tiny, corpus=corpus, negatives=99, ranks=ranks)[1][0]["neg"]
        for ranks in ((1, 99), (1, 5), (6, 10))
    )
    assert (everything[:5], everything[5:10]) == (first, later)
    assert len(everything) == 20
    _, [row] = mined(FERNS[:1], tmp_path, tiny, corpus=corpus, ranks=(1, 99), margin=0.99)
    assert row["neg"] == []
    drawn = [
        mined(FERNS[:1], tmp_path, tiny, corpus=corpus, ranks=(1, 20), seed=s)[1] for s in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_translations_get_negatives_too(tmp_path, tiny):
    rows = [{"t": {"en": "water", "es": "agua"}}, {"t": {"en": "bread", "es": "pan"}}]
    _, found = mined(rows, tmp_path, tiny, ranks=(1, 9))
    assert sorted(found[0]["neg"]) == ["bread", "pan"]
    assert sorted(found[1]["neg"]) == ["agua", "water"]
    with pytest.raises(InputError, match="not for translations"):
        mined(rows, tmp_path, tiny, ranks=(1, 9), scores=True)


def test_scores_are_those_of_the_loss(tmp_path, tiny):
    old = FERNS[0] | {"neg": ["Bread."], "pos_scores": [1.0], "neg_scores": [0.0]}
    _, rows = mined([old, *FERNS[1:]], tmp_path, tiny, ranks=(1, 9), scores=True)
    row = rows[0]
    assert len(row["neg_scores"]) == len(row["neg"]) == 4
    views = tiny.encode([row["query"], *row["pos"], *row["neg"]])
    query, passages = views[:1], views[1:]
    expected = (
        dense_scores(query.dense, passages.dense)
        + 0.3 * sparse_scores(query.sparse, passages.sparse)
        + colbert_scores(query.colbert[0], passages.colbert)
    )[0] / 0.02
    assert [*row["pos_scores"], *row["neg_scores"]] == pytest.approx(expected.tolist(), rel=1e-4)
    _, rows = mined([old, *FERNS[1:]], tmp_path, tiny, ranks=(1, 9))
    assert "pos_scores" not in rows[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranks": (0, 5)}, "`ranks` must be at least 1 and ascending, got 0 to 5"),
        ({"ranks": (5, 4)}, "`ranks` must be at least 1 and ascending, got 5 to 4"),
        ({"negatives": 0}, "`negatives` must be at least 1, got 0"),
    ],
)
def test_numbers_out_of_range(options, message, tmp_path, tiny):
    with pytest.raises(InputError, match=message):
        mined(FERNS, tmp_path, tiny, **options)


def test_a_bad_corpus(tmp_path, tiny):
    corpus = write(tmp_path / "corpus.jsonl", [{"text": "a"}, {"body": "b"}])
    with pytest.raises(InputError, match=r"corpus\.jsonl, line 2"):
        mined(FERNS, tmp_path, tiny, corpus=corpus)
    assert not (tmp_path / "mined.jsonl").exists()
