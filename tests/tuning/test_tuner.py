"""Learned weights: the values of fusions, what is learned, and the tests on held-out questions."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3rag import Passage
from m3rag.errors import InputError
from m3rag.evaluation import Scores, SliceScores, measure, score
from m3rag.evaluation.dataset import Query
from m3rag.evaluation.slices import Slice
from m3rag.index.presets import Preset
from m3rag.scoring import PRESETS, parse_weights
from m3rag.tuning import FEWEST, balance, tune
from m3rag.tuning.learner import Learner
from m3rag.tuning.objective import Objective

SIGNAL = {"dense": 0.05, "sparse": 0.4, "colbert": 0.05, "bm25": 4.0}


def made_up(questions, *, languages=1, signal=SIGNAL, seed=0):
    """Return scores of noise, higher by `signal` for the one document that answers."""
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


def test_documents_score_as_their_best_passage(tiny, xquad):
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


def test_the_gain_holds_on_new_questions():
    tuning = tune(made_up(200))
    other = Objective(made_up(300, seed=1))
    gain = other.values(tuning.preset) - other.values(Preset(PRESETS[tuning.best]))
    assert gain.mean() > 0.02
    found = tuning.held_out[tuning.best]
    assert found.low - 0.05 < gain.mean() < found.high + 0.05


def test_noise_teaches_nothing():
    found = [tune(made_up(60, signal=dict.fromkeys(SIGNAL, 0.0), seed=i)) for i in range(12)]
    kept = [tuning for tuning in found if not tuning.tuned]
    assert len(kept) >= 11, "by chance, a 95 % interval is above zero one time in forty"
    for tuning in kept:
        assert tuning.preset.weights == PRESETS[tuning.best]
        assert "not better" in tuning.reason


def test_it_is_the_same_every_time():
    assert tune(made_up(40)) == tune(made_up(40))


def test_ten_questions_are_too_few(tiny, xquad):
    eleven = score(tiny, xquad, pairs=["es-en", "en-en"], every=2)
    for scores in (made_up(10), made_up(FEWEST - 1, languages=9), eleven):
        tuning = tune(scores)
        assert not tuning.tuned
        assert tuning.preset.weights == parse_weights(scores.presets[tuning.best])
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
    rescaled = {  # the scale of the scores differs for every query; their order is the same
        channel: matrix * rng.lognormal(0, 3, size=(200, 1)).astype(np.float32)
        for channel, matrix in one.channels.items()
    }
    tuning = tune(replace(scores, slices=[replace(one, channels=rescaled)]))
    assert tuning.tuned
    assert tuning.preset.fusion == "rrf"


def test_invalid_arguments():
    with pytest.raises(
        InputError, match="at least two channels of dense, sparse, colbert, bm25, got dense"
    ):
        tune(made_up(30, signal={"dense": 0.1}))
    with pytest.raises(InputError, match="`folds` must be at least 2, got 1"):
        tune(made_up(30), folds=1)


# Languages


def test_balanced_scores_favour_no_language(tiny, xquad):
    scores = score(tiny, xquad, pairs="pooled", channels=("dense", "colbert"), every=2)
    balanced = balance(scores, xquad)
    [before], [after] = scores.slices, balanced.slices
    owners = {document.id: document.language for document in xquad.corpus}
    languages = np.array([owners[passage.document_id] for passage in before.slice.passages])
    for channel, matrix in after.channels.items():
        old = before.channels[channel]
        for language in xquad.languages:
            part = matrix[:, languages == language]
            np.testing.assert_allclose(part.mean(axis=1), old.mean(axis=1), atol=1e-5)
            np.testing.assert_allclose(part.std(axis=1), old.std(axis=1), rtol=1e-3)
            own = old[:, languages == language]
            np.testing.assert_array_equal(part.argmax(axis=1), own.argmax(axis=1))
    even = Preset({"dense": 1.0, "colbert": 1.0})
    assert Objective(balanced).values(even).mean() > Objective(scores).values(even).mean() + 0.05
