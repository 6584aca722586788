"""The score to answer from: exact counts, and refusals that hold."""

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


def made(n, *, high=0.9, low=0.5, noise=0.0, documents=None):
    """n questions, each with one passage that scores `high` and ten others that score `low`."""
    rng = np.random.default_rng(1)
    slices = []
    for i in range(n):
        ids = [f"{i}-{j}" for j in range(11)]
        passages = [Passage(one, "", document_id=documents and documents(one)) for one in ids]
        scores = np.full((1, 11), low) + noise * rng.normal(size=(1, 11))
        scores[0, 0] = high + noise * rng.normal()
        query = [Query(f"q{i}", "")]
        one = Slice("", "all", ids, passages, np.arange(11), query, [{ids[0]: 1}], 0)
        slices.append(SliceScores(one, {"dense": scores.astype(np.float32)}))
    return Scores("made", "none", "passage", True, slices)


def test_a_gap_between_answers_and_the_rest_is_found():
    found = calibrate(made(40), DENSE)
    assert 0.5 < found.min_score < 0.9
    assert (found.asked, found.answered, found.right, found.fooled) == (40, 40, 40, 0)
    assert (found.precision, found.coverage) == (1.0, 1.0)
    assert "answers 40 of 40 that have an answer and 0 of 40" in found.reason
    assert found.to_dict()["precision"] == 1.0


def test_more_precision_is_less_coverage():
    scores = made(400, high=1.0, low=0.5, noise=0.2)
    found = [calibrate(scores, DENSE, precision=p) for p in (0.6, 0.75, 0.9)]
    assert found[0].min_score < found[1].min_score < found[2].min_score
    assert found[0].coverage > found[1].coverage > found[2].coverage > 0
    for one, wanted in zip(found, (0.6, 0.75, 0.9), strict=True):
        assert one.precision == pytest.approx(wanted, abs=0.05)
        assert one.right <= one.answered <= one.asked == 400


def test_the_counts_are_those_of_the_threshold_on_all_questions():
    """With what it has seen, the lowest threshold that is precise enough: by trying each."""
    scores = made(60, high=0.9, low=0.5, noise=0.2)
    found = calibrate(scores, DENSE, precision=0.8)
    best, right, hidden = [], [], []
    for one in scores.slices:
        row = one.channels["dense"][0]
        best.append(row.max())
        right.append(0 in np.argsort(-row)[:5])
        hidden.append(row[1:].max())
    best, right, hidden = np.array(best), np.array(right), np.array(hidden)

    def precision(limit):
        answered = (best >= limit).sum() + (hidden >= limit).sum()
        return (right & (best >= limit)).sum() / answered if answered >= 10 else 0.0

    precise = [s for s in np.concatenate([best, hidden]) if precision(s) >= 0.8]
    assert precision(found.min_score) >= 0.8
    assert min(precise) >= found.min_score
    assert np.nextafter(found.min_score, 1) <= min(precise)


def test_a_document_is_hidden_as_a_whole():
    """The passage beside the answer is as good; hidden with it, only the far ones are left."""
    scores = made(40)
    for one in scores.slices:
        one.channels["dense"][0, 1] = 0.89
    assert calibrate(scores, DENSE, precision=0.9).min_score > 0.89
    together = made(40, documents=lambda name: name.replace("-1", "-0"))
    for one in together.slices:
        one.channels["dense"][0, 1] = 0.89
    assert 0.5 < calibrate(together, DENSE, precision=0.9).min_score < 0.89


def test_questions_whose_documents_are_everything_are_refused_without():
    scores = made(40, documents=lambda name: name.split("-")[0])
    found = calibrate(scores, DENSE)
    assert np.isfinite(found.min_score)
    assert found.fooled == 0


@pytest.mark.parametrize(
    ("scores", "preset", "reason"),
    [
        (made(40, high=0.5), DENSE, "No threshold: with none are 90% of the answers right"),
        (made(19), DENSE, "19 distinct questions are too few for a threshold: 20 are needed"),
        (made(40), Preset({"dense": 1.0}, "rrf"), "Ranks do not tell"),
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
        calibrate(made(20), DENSE, precision=precision)


# Where it is kept


def test_it_stays_with_the_preset(tmp_path):
    presets = {"tuned": replace(DENSE, min_score=0.42), "old": DENSE}
    write_presets(locate(tmp_path), presets)
    assert read_presets(locate(tmp_path)) == presets


def test_presets_of_before_have_none(tmp_path):
    old = '{"a": {"weights": {"dense": 1}, "fusion": "weighted", "k": 60, "learned_from": ""}}'
    (tmp_path / NAME).write_text(old)
    assert read_presets(locate(tmp_path))["a"].min_score is None


def test_a_damaged_one_is_told(tmp_path):
    write_presets(locate(tmp_path), {"a": replace(DENSE, min_score=0.5)})
    path = tmp_path / NAME
    path.write_text(path.read_text().replace("0.5", '"high"'))
    with pytest.raises(FormatError, match="damaged"):
        read_presets(locate(tmp_path))


@pytest.mark.parametrize(
    ("fusion", "min_score"), [("rrf", 0.5), ("weighted", float("nan")), ("weighted", float("inf"))]
)
def test_a_preset_needs_a_score_that_can_be_compared(fusion, min_score):
    with pytest.raises(InputError, match="min_score is a finite number"):
        Preset({"dense": 1.0}, fusion, min_score=min_score)
