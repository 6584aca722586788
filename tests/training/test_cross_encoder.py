"""Cross-encoders are trained from M3 models and from cross-encoders, and resume."""

import csv
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from m3rag import M3CrossEncoder, M3Model
from m3rag.errors import InputError
from m3rag.model import checkpoint as checkpoints
from m3rag.model.cross_checkpoint import with_new_head
from m3rag.model.lookup import BUNDLED
from m3rag.model.scoring_network import ScoringNetwork
from m3rag.training import TrainingSettings, train
from m3rag.training.example import Group
from m3rag.training.pair_objective import PairObjective
from m3rag.training.trainable import trainable
from tests.training.conftest import write
from tests.training.test_cli import m3rag

pytestmark = pytest.mark.filterwarnings("ignore::m3rag.errors.TruncationWarning")
CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def quick_cross(quick):
    def settings(**changes):
        return quick(**{"cross_encoder": True, "group_size": 3, "learning_rate": 1e-3} | changes)

    return settings


@pytest.fixture(scope="module")
def few(rows):
    """Twelve questions, which a few steps can learn."""
    return rows[:12]


@pytest.fixture(scope="module")
def trained(few, quick_cross, tmp_path_factory):
    to = tmp_path_factory.mktemp("cross")
    settings = quick_cross(max_steps=8, batch=12, max_passage_length=32, learning_rate=2e-3)
    train(write(to / "few.jsonl", few), to / "reranker", model="tiny", settings=settings)
    return to / "reranker"


def losses(folder):
    with (folder / "training" / "log.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def ranks_first(model, rows):
    """Return how often the query's own paragraph is before three others."""
    texts = [row["pos"][0] for row in rows]
    found = 0
    for i, row in enumerate(rows):
        others = [text for text in texts[i + 1 :] + texts[:i] if text not in row["pos"]][:3]
        found += model.score(row["query"], [texts[i], *others], max_length=56).argmax() == 0
    return found / len(rows)


def test_the_loss_falls_and_the_ranking_improves(trained, few):
    found = losses(trained)
    assert len(found) == 8
    assert found[-1] < 0.3 * found[0]
    new = with_new_head(checkpoints.read(BUNDLED["tiny"]), seed=0)
    with M3CrossEncoder(new, dtype="float32") as before, M3CrossEncoder.load(trained) as after:
        assert ranks_first(after, few) > 0.9 > ranks_first(before, few) + 0.2


def test_flagembedding_and_transformers_load_it(trained):
    pairs = [("Which plants like shade?", "Ferns."), ("What measures moisture?", "A sensor.")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from FlagEmbedding import FlagReranker

        theirs = FlagReranker(str(trained), use_fp16=False, devices="cpu")
        theirs.model.float()
        expected = theirs.compute_score(pairs)
    with M3CrossEncoder.load(trained, dtype="float32") as model:
        np.testing.assert_allclose(model.score_pairs(pairs), expected, atol=1e-5)


def test_a_stopped_run_resumes_with_the_same_losses(pairs, quick_cross, tmp_path):
    settings = quick_cross(max_steps=3, batch=2, group_size=2)
    train(pairs, tmp_path / "whole", model="tiny", settings=settings)

    class StopError(Exception):
        pass

    def stop(report):
        if report.progress.step == 2:
            raise StopError

    each = replace(settings, save_every=1)
    with pytest.raises(StopError):
        train(pairs, tmp_path / "again", model="tiny", settings=each, on_step=stop)
    assert train(pairs, tmp_path / "again", model="tiny", settings=each).step == 3
    np.testing.assert_allclose(losses(tmp_path / "again"), losses(tmp_path / "whole"), rtol=1e-4)


def test_it_goes_on_from_a_cross_encoder(trained, few, quick_cross, tmp_path):
    settings = quick_cross(max_steps=1, batch=8, max_passage_length=32)
    data = write(tmp_path / "few.jsonl", few)
    train(data, tmp_path / "more", model=trained, settings=settings)
    assert losses(tmp_path / "more")[0] < 0.5 * losses(trained)[0]


def test_negatives_come_from_the_data_and_then_from_the_batch(quick_cross):
    start = with_new_head(checkpoints.read(BUNDLED["tiny"]), seed=0)
    groups = [
        Group("ferns?", ("Ferns.", "Cacti."), frozenset({"Ferns.", "Moss."}), None, None),
        Group("moss?", ("Moss.",), frozenset({"Moss."}), "moss", None),
        Group("moss!", ("Peat.",), frozenset({"Peat."}), "moss", None),
    ]
    network = trainable(ScoringNetwork, start, quick_cross(), CPU)

    def passages(**changes):
        objective = PairObjective(network, start.tokenizer, quick_cross(**changes), torch.float32)
        return list(objective._passages(groups))

    assert passages(group_size=3) == [
        ["Ferns.", "Cacti.", "Peat."],  # not "Moss.", which answers
        ["Moss.", "Ferns.", "Cacti."],  # not "Peat.", of the same key
        ["Peat.", "Ferns.", "Cacti."],
    ]
    assert passages(in_batch_negatives=False) == [list(group.passages) for group in groups]


def test_the_loss_is_that_of_flagembedding(quick_cross):
    """CrossEntropyLoss over the groups, and with `kl_div` the cross-entropy with the teacher."""
    start = with_new_head(checkpoints.read(BUNDLED["tiny"]), seed=0)
    texts = ("Ferns like shade.", "Cacti like sun.", "A relay is a switch.")
    scores = (3.0, 1.0, -1.0)
    groups = [Group(q, texts, frozenset(texts[:1]), None, scores) for q in ("ferns?", "shade?")]
    found = {}
    for teacher in ("none", "kl_div"):
        settings = quick_cross(teacher=teacher, group_size=3)
        network = trainable(ScoringNetwork, start, settings, CPU).eval()
        objective = PairObjective(network, start.tokenizer, settings, torch.float32)
        found[teacher] = objective.backward(objective.tokenize(groups), distil=True)["loss"]
        gradient = network.classifier.out_proj.weight.grad
        assert gradient.abs().sum() > 0
        split = replace(settings, token_budget=1)
        other = trainable(ScoringNetwork, start, split, CPU).eval()
        parts = PairObjective(other, start.tokenizer, split, torch.float32)
        assert parts.backward(parts.tokenize(groups), distil=True)["loss"] == pytest.approx(
            found[teacher], rel=1e-5
        )
        torch.testing.assert_close(other.classifier.out_proj.weight.grad, gradient)
    with M3CrossEncoder(start, dtype="float32") as model:
        logits = torch.from_numpy(np.stack([model.score(g.query, texts) for g in groups]))
    plain = torch.nn.functional.cross_entropy(logits, torch.zeros(2, dtype=torch.int64))
    target = torch.tensor(scores).softmax(0)
    taught = -(logits.log_softmax(1) * target).sum(1).mean()
    assert found["none"] == pytest.approx(float(plain), rel=1e-5)
    assert found["kl_div"] == pytest.approx(float(plain + taught), rel=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": 0.1}, "`temperature` is a setting of the three views"),
        ({"symmetric": True}, "`symmetric` is a setting of the three views"),
        ({"max_passage_length": 4}, "`max_passage_length` must be above 4 for a cross-encoder"),
    ],
)
def test_settings_of_the_views_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        TrainingSettings(cross_encoder=True, **wrong)


def test_what_a_cross_encoder_cannot_use(pairs, quick_cross, tmp_path):
    with pytest.raises(InputError, match="`evaluation` is for the three views"):
        train(pairs, tmp_path / "x", settings=quick_cross(), model="tiny", evaluation=tmp_path)
    long = quick_cross(max_query_length=8000, max_passage_length=500)
    with pytest.raises(InputError, match=r"`max_query_length \+ max_passage_length` must be at m"):
        train(pairs, tmp_path / "x", settings=long, model="tiny")


def test_from_the_command_line_and_a_packed_model(pairs, tmp_path):
    with M3Model.load("tiny") as model:
        model.save(tmp_path / "packed", packed=True)
    to = tmp_path / "reranker"
    done = m3rag(
        "train", "--data", pairs, "--model", tmp_path / "packed", "--to", to, "--cross-encoder",
        "--max-steps", 1, "--batch", 2, "--group-size", 2, "--max-passage-length", 32,
    )  # fmt: skip
    assert done.exit_code == 0
    assert "1 steps, 2 queries" in done.stdout
    with M3CrossEncoder.load(to) as trained:
        assert trained.score("a", ["b"]).shape == (1,)
