"""The calibrated threshold: exact counts, and when there is none."""

from dataclasses import replace

import numpy as np
import pytest

from m3rag import Passage
from m3rag.errors import FormatError, InputError
from m3rag.evaluation import Scores, SliceScores
from m3rag.evaluation.dataset import Query
from m3rag.evaluation.slices import Slice
from m3rag.index.presets import NAME, Preset, read_presets, write_presets
from m3rag.stores.location import locate
from m3rag.tuning import calibrate

DENSE = Preset({"dense": 1.0})


def questions(n, *, high=0.9, low=0.5, noise=0.0, documents=None):
    """Return n questions, each with a passage that scores `high` and ten that score `low`."""
    rng = np.random.default_rng(1)
    slices = []
    for i in range(n):
        ids = [f"{i}-{j}" for j in range(11)]
        passages = [Passage(name, "", document_id=documents and documents(name)) for name in ids]
        scores = np.full((1, 11), low) + noise * rng.normal(size=(1, 11))
        scores[0, 0] = high + noise * rng.normal()
        query = [Query(f"q{i}", "")]
        part = Slice("", "all", ids, passages, np.arange(11), query, [{ids[0]: 1}], 0)
        slices.append(SliceScores(part, {"dense": scores.astype(np.float32)}))
    return Scores("made", "none", "passage", True, slices)


def test_a_gap_between_answers_and_the_rest_is_found():
    found = calibrate(questions(40), DENSE)
    assert 0.5 < found.min_score < 0.9
    assert (found.asked, found.answered, found.right, found.fooled) == (40, 40, 40, 0)
    assert (found.precision, found.coverage) == (1.0, 1.0)
    assert "answers 40 of 40 that have an answer and 0 of 40" in found.reason
    assert found.to_dict()["precision"] == 1.0


def test_more_precision_is_less_coverage():
    scores = questions(400, high=1.0, low=0.5, noise=0.2)
    found = [calibrate(scores, DENSE, precision=p) for p in (0.6, 0.75, 0.9)]
    assert found[0].min_score < found[1].min_score < found[2].min_score
    assert found[0].coverage > found[1].coverage > found[2].coverage > 0
    for threshold, target in zip(found, (0.6, 0.75, 0.9), strict=True):
        assert threshold.precision == pytest.approx(target, abs=0.05)
        assert threshold.right <= threshold.answered <= threshold.asked == 400


def test_the_counts_are_those_of_the_threshold_on_all_questions():
    """The threshold is the lowest that is precise enough on all questions, found by trying each."""
    scores = questions(60, high=0.9, low=0.5, noise=0.2)
    found = calibrate(scores, DENSE, precision=0.8)
    rows = [part.channels["dense"][0] for part in scores.slices]
    best = np.array([row.max() for row in rows])
    right = np.array([0 in np.argsort(-row)[:5] for row in rows])
    hidden = np.array([row[1:].max() for row in rows])

    def precision(limit):
        answered = (best >= limit).sum() + (hidden >= limit).sum()
        return (right & (best >= limit)).sum() / answered if answered >= 10 else 0.0

    precise = [s for s in np.concatenate([best, hidden]) if precision(s) >= 0.8]
    assert precision(found.min_score) >= 0.8
    assert min(precise) >= found.min_score
    assert np.nextafter(found.min_score, 1) <= min(precise)


def test_a_document_is_hidden_as_a_whole():
    """A second passage scores as much; if it is hidden with the answer, only low ones are left."""
    scores = questions(40)
    for part in scores.slices:
        part.channels["dense"][0, 1] = 0.89
    assert calibrate(scores, DENSE, precision=0.9).min_score > 0.89
    together = questions(40, documents=lambda name: name.replace("-1", "-0"))
    for part in together.slices:
        part.channels["dense"][0, 1] = 0.89
    assert 0.5 < calibrate(together, DENSE, precision=0.9).min_score < 0.89


def test_questions_that_all_passages_answer_are_refused_if_these_are_hidden():
    scores = questions(40, documents=lambda name: name.split("-")[0])
    found = calibrate(scores, DENSE)
    assert np.isfinite(found.min_score)
    assert found.fooled == 0


@pytest.mark.parametrize(
    ("scores", "preset", "reason"),
    [
        (questions(40, high=0.5), DENSE, "There is no threshold: none reaches a precision of 90%"),
        (questions(19), DENSE, "19 distinct questions are too few for a threshold: 20 are needed"),
        (questions(40), Preset({"dense": 1.0}, "rrf"), "There is no threshold with rrf"),
    ],
)
def test_no_threshold_is_better_than_a_bad_one(scores, preset, reason):
    found = calibrate(scores, preset)
    assert found.min_score is None
    assert found.reason.startswith(reason)
    assert (found.answered, found.precision, found.coverage) == (0, None, 0.0)


@pytest.mark.parametrize("precision", [0.0, 1.1, -1.0, float("nan")])
def test_a_precision_is_a_share(precision):
    with pytest.raises(InputError, match="above 0 and at most 1"):
        calibrate(questions(20), DENSE, precision=precision)


# Saved thresholds


def test_a_threshold_is_saved_with_its_preset(tmp_path):
    presets = {"tuned": replace(DENSE, min_score=0.42), "old": DENSE}
    write_presets(locate(tmp_path), presets)
    assert read_presets(locate(tmp_path)) == presets


def test_presets_of_old_versions_have_none(tmp_path):
    old = '{"a": {"weights": {"dense": 1}, "fusion": "weighted", "k": 60, "learned_from": ""}}'
    (tmp_path / NAME).write_text(old)
    assert read_presets(locate(tmp_path))["a"].min_score is None


def test_a_damaged_threshold_is_an_error(tmp_path):
    write_presets(locate(tmp_path), {"a": replace(DENSE, min_score=0.5)})
    path = tmp_path / NAME
    path.write_text(path.read_text().replace("0.5", '"high"'))
    with pytest.raises(FormatError, match="damaged"):
        read_presets(locate(tmp_path))


@pytest.mark.parametrize(
    ("fusion", "min_score"), [("rrf", 0.5), ("weighted", float("nan")), ("weighted", float("inf"))]
)
def test_a_preset_needs_a_score_that_can_be_compared(fusion, min_score):
    with pytest.raises(InputError, match="`min_score` must be a finite number"):
        Preset({"dense": 1.0}, fusion, min_score=min_score)
