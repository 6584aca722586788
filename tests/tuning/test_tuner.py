"""Learned weights: exact values, honest comparisons, and what an index does with them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3rag import M3Index, Passage
from m3rag.errors import InputError
from m3rag.evaluation import Scores, SliceScores, measure, score
from m3rag.evaluation.dataset import Query
from m3rag.evaluation.slices import Slice
from m3rag.index.presets import Preset
from m3rag.scoring import PRESETS, parse_weights
from m3rag.tuning import (
    FEWEST,
    Labelled,
    balance,
    index_scores,
    pseudo_questions,
    read_labelled,
    tune,
)
from m3rag.tuning.learner import Learner
from m3rag.tuning.objective import Objective

SIGNAL = {"dense": 0.05, "sparse": 0.4, "colbert": 0.05, "bm25": 4.0}


def made_up(questions, *, languages=1, signal=SIGNAL, seed=0):
    """Scores of noise, higher by `signal` deviations for the one document that answers."""
    rng = np.random.default_rng(seed)
    scale = {"dense": 0.1, "sparse": 0.1, "colbert": 0.1, "bm25": 4.0}
    passages = [Passage(f"d{i:02}", "") for i in range(40)]
    queries = [Query(f"q{i}-l{j}", "", f"l{j}") for i in range(questions) for j in range(languages)]
    answers = rng.integers(0, 40, questions).repeat(languages)
    matrices = {}
    for channel, extra in signal.items():
        noise = rng.normal(size=(len(queries), 40)) * scale[channel]
        noise[np.arange(len(queries)), answers] += extra
        matrices[channel] = noise.astype(np.float32) + 10 * scale[channel]
    one = Slice(
        subset="",
        language="all",
        units=[p.id for p in passages],
        passages=passages,
        starts=np.arange(40),
        queries=queries,
        relevant=[{f"d{i:02}": 1} for i in answers],
        left_out=0,
    )
    return Scores("made up", "none", "document", True, [SliceScores(one, matrices)])


# The objective


@pytest.mark.parametrize("weights", [*PRESETS, (0, 1, 0), (1, 0.3, 1, 0.02), "rrf"])
def test_values_are_those_of_trec_eval(scores, weights):
    name = weights if isinstance(weights, str) else "/".join(map(str, weights))
    expected = measure(scores, weights=[weights], metrics=["ndcg@10"]).values[name]["ndcg@10"]
    if weights == "rrf":
        preset = Preset(dict.fromkeys(("dense", "sparse", "colbert"), 1.0), "rrf")
    else:
        numbers = scores.presets[weights] if isinstance(weights, str) else None
        channels = ("dense", "sparse", "colbert", "bm25")
        preset = Preset(numbers or dict(zip(channels, weights, strict=False)))
    np.testing.assert_allclose(Objective(scores).values(preset), expected, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_grades_and_ties_count_as_in_trec_eval(data):
    base = made_up(4, seed=data.draw(st.integers(0, 99)))
    [one] = base.slices
    grades = st.dictionaries(st.sampled_from([*one.slice.units, "elsewhere"]), st.integers(1, 3))
    relevant = [data.draw(grades.filter(bool)) for _ in one.slice.queries]
    steps = {channel: np.round(matrix, 0) for channel, matrix in one.channels.items()}
    tied = SliceScores(replace(one.slice, relevant=relevant), steps)
    scores = replace(base, slices=[tied])
    expected = measure(scores, weights=[(1, 1, 1)], metrics=["ndcg@10"]).values["1/1/1"]
    found = Objective(scores).values(Preset({"dense": 1.0, "sparse": 1.0, "colbert": 1.0}))
    np.testing.assert_allclose(found, expected["ndcg@10"], atol=1e-6)


def test_pages_count_by_their_best_passage(tiny, xquad):
    scores = score(tiny, xquad, pairs=["en-en"], max_tokens=48, overlap=8)
    [one] = scores.slices
    assert len(one.slice.passages) > len(one.slice.units)
    expected = measure(scores, weights=["default"], metrics=["ndcg@10"]).values["default"]
    found = Objective(scores).values(Preset(PRESETS["default"]))
    np.testing.assert_allclose(found, expected["ndcg@10"], atol=1e-6)


# Learning


def test_a_channel_that_knows_the_answer_gets_the_weight():
    tuning = tune(made_up(200))
    assert tuning.tuned
    weights = tuning.preset.weights
    assert weights["sparse"] > 2 * max(weights.get("dense", 0), weights.get("colbert", 0))
    assert tuning.held_out[tuning.best].low > 0
    assert tuning.preset.learned_from == "200 questions of made up"


def test_the_gain_is_there_on_questions_never_seen():
    tuning = tune(made_up(200))
    other = Objective(made_up(300, seed=1))
    gain = other.values(tuning.preset) - other.values(Preset(PRESETS[tuning.best]))
    assert gain.mean() > 0.02
    found = tuning.held_out[tuning.best]
    assert found.low - 0.05 < gain.mean() < found.high + 0.05


def test_noise_teaches_nothing():
    found = [tune(made_up(60, signal=dict.fromkeys(SIGNAL, 0.0), seed=i)) for i in range(12)]
    kept = [tuning for tuning in found if not tuning.tuned]
    assert len(kept) >= 11, "a 95 % interval is above zero by chance one time in forty"
    for tuning in kept:
        assert tuning.preset.weights == PRESETS[tuning.best]
        assert "not better" in tuning.reason


def test_it_is_the_same_every_time():
    assert tune(made_up(40)) == tune(made_up(40))


def test_ten_questions_are_too_few(tiny, xquad):
    eleven = score(tiny, xquad, pairs=["es-en", "en-en"], every=2)
    for some in (made_up(10), made_up(FEWEST - 1, languages=9), eleven):
        tuning = tune(some)
        assert not tuning.tuned
        assert tuning.preset.weights == parse_weights(some.presets[tuning.best])
        assert f"{tuning.questions} questions are too few" in tuning.reason
        assert (tuning.learned, tuning.held_out) == (None, {})


def test_languages_do_not_make_questions():
    tuning = tune(made_up(30, languages=3))
    assert (tuning.questions, tuning.rankings) == (30, 90)


def test_few_questions_move_the_weights_less():
    objective = Objective(made_up(30))
    rows = np.ones(30, np.bool_)
    start = Learner(objective).starts[Learner(objective).start(rows)]

    def moved(prior):
        weights = Learner(objective, prior=prior).learn(rows).weights
        return abs(weights["sparse"] / weights["dense"] - start.weights["sparse"])

    assert moved(10_000) < moved(20) < moved(1)


def test_ranks_win_where_scores_mislead():
    scores = made_up(200, signal={"dense": 0.2, "colbert": 0.2})
    [one] = scores.slices
    rng = np.random.default_rng(5)
    shaken = {  # one channel's scores are of a different size for every query; their order stays
        channel: matrix * rng.lognormal(0, 3, size=(200, 1)).astype(np.float32)
        for channel, matrix in one.channels.items()
    }
    tuning = tune(replace(scores, slices=[replace(one, channels=shaken)]))
    assert tuning.tuned
    assert tuning.preset.fusion == "rrf"


def test_what_cannot_be_tuned():
    with pytest.raises(InputError, match="two channels or more"):
        tune(made_up(30, signal={"dense": 0.1}))
    with pytest.raises(InputError, match="folds=1"):
        tune(made_up(30), folds=1)


# An index


@pytest.fixture(scope="module")
def filled(tiny, xquad):
    """An index of the set's documents, each in two passages."""
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
        pages = list(dict.fromkeys(hit.passage.document_id for hit in hits))[:10]
        relevant = xquad.qrels[query.id]
        gain = sum(1 / np.log2(rank + 1) for rank, page in enumerate(pages, 1) if page in relevant)
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
        ({"q": {"x00.0-en": 1, "x00.0-en#0": 1}}, "use ids of one kind"),
        ({"q": {"x00.0-en": 0}}, "No question of 'set' has an answer"),
    ],
)
def test_answers_that_do_not_fit(qrels, message, filled):
    with pytest.raises(InputError, match=message):
        index_scores(filled, Labelled("set", [Query("q", "Who?")], qrels))


# Languages


def test_balanced_scores_favour_no_language(tiny, xquad):
    scores = score(tiny, xquad, pairs="pooled", channels=("dense", "colbert"), every=2)
    balanced = balance(scores, xquad)
    [before], [after] = scores.slices, balanced.slices
    spoken = np.array([passage.document_id[-2:] for passage in before.slice.passages])
    for channel, matrix in after.channels.items():
        old = before.channels[channel]
        for language in xquad.languages:
            part = matrix[:, spoken == language]
            np.testing.assert_allclose(part.mean(axis=1), old.mean(axis=1), atol=1e-5)
            np.testing.assert_allclose(part.std(axis=1), old.std(axis=1), rtol=1e-3)
            own = old[:, spoken == language]
            np.testing.assert_array_equal(part.argmax(axis=1), own.argmax(axis=1))
    even = Preset({"dense": 1.0, "colbert": 1.0})
    assert Objective(balanced).values(even).mean() > Objective(scores).values(even).mean() + 0.05


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
        ('{"document_id": "a"}', 'line 1 has no "question"'),
        ('{"question": "Who?"}', "must be an id or a list of them, got None"),
        ('{"question": "Who?", "document_id": []}', r"got \[\]"),
        ("no", "line 1 is not JSON"),
        ('{"question": "Who?", "document_id": "a", "id": "1"}\n' * 2, "is there twice"),
    ],
)
def test_lines_that_are_no_questions(line, message, tmp_path):
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


def test_headings_are_asked_for_and_cut_off(sections):
    index, labelled = pseudo_questions(sections, "headings")
    assert {query.id: query.text for query in labelled.queries} == {"1": "Plants", "2": "Cacti"}
    assert labelled.qrels == {"1": {"1": 1}, "2": {"2": 1}}
    assert labelled.name == "pseudo-headings"
    texts = {passage.id: passage.text for passage in index.passages()}
    assert texts["2"] == f"Sun first. {LONG}"
    assert texts["3"] == f"One. {LONG}"
    assert texts["6"] == "## Short\n\nToo short."
    assert len(sections) == len(index) == 6


def test_first_sentences_are_asked_for_if_they_stand_once(sections):
    index, labelled = pseudo_questions(sections, "sentences")
    asked = {query.id: query.text for query in labelled.queries}
    assert asked == {"1": "## Ferns", "3": "One.", "4": "Two."}
    assert {passage.text for passage in index.get(["3", "4", "5"])} == {LONG}


def test_no_pseudo_questions(sections, tiny):
    with pytest.raises(InputError, match="headings or sentences, not 'titles'"):
        pseudo_questions(sections, "titles")
    with (
        M3Index.open(model=tiny) as empty,
        pytest.raises(InputError, match="no headings that tell its 0 passages apart"),
    ):
        pseudo_questions(empty, "headings")
