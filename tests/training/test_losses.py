"""M3's loss: FlagEmbedding's numbers where it is right, hand-worked ones where it is not."""

import math
import warnings
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import XLMRobertaConfig, XLMRobertaModel

from m3rag.errors import InputError
from m3rag.training.losses import VIEWS, LossSettings, m3_loss
from m3rag.training.similarity import colbert_scores, dense_scores, sparse_scores

VOCABULARY, WIDTH = 60, 16
TOKENIZER = SimpleNamespace(
    cls_token_id=0, pad_token_id=1, eos_token_id=2, unk_token_id=3, padding_side="right"
)


@pytest.fixture(scope="module")
def flag():
    """FlagEmbedding's training model around a small XLM-RoBERTa, as a function of its settings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from FlagEmbedding.finetune.embedder.encoder_only.m3.modeling import (
            EncoderOnlyEmbedderM3Model,
        )
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.5,
    )
    parts = {
        "model": XLMRobertaModel(config, add_pooling_layer=False),
        "colbert_linear": nn.Linear(WIDTH, WIDTH),
        "sparse_linear": nn.Linear(WIDTH, 1),
    }

    def build(**kwargs):
        return EncoderOnlyEmbedderM3Model(
            parts, tokenizer=TOKENIZER, normalize_embeddings=True, temperature=0.02, **kwargs
        ).double()

    return build


def texts(seed, count, longest):
    """Token ids `<s> … </s>` of several lengths, padded; ids repeat within a text."""
    rng = torch.Generator().manual_seed(seed)
    ids = torch.ones(count, longest, dtype=torch.long)
    for row in ids:
        length = int(torch.randint(4, longest + 1, (), generator=rng))
        row[:length] = torch.randint(4, 30, (length,), generator=rng)
        row[0], row[length - 1] = 0, 2
    return {"input_ids": ids, "attention_mask": (ids != 1).long()}


def our_scores(model, queries, passages):
    """The same network's representations through our scores."""
    encoded = []
    for features in (queries, passages):
        hidden = model.model(**features).last_hidden_state
        ids, mask = features["input_ids"], features["attention_mask"].bool()
        weights = model.sparse_linear(hidden).relu()[..., 0] * (ids > 3)
        colbert = F.normalize(model.colbert_linear(hidden[:, 1:]), dim=-1)
        dense = F.normalize(hidden[:, 0], dim=-1)
        encoded.append((dense, (ids, weights), (colbert, mask[:, 1:])))
    (qd, qs, qc), (pd, ps, pc) = encoded
    return {
        "dense": dense_scores(qd, pd),
        "sparse": sparse_scores(*qs, *ps),
        "colbert": colbert_scores(*qc, *pc),
    }


@pytest.mark.parametrize("distil", [False, True])
@pytest.mark.parametrize("teacher", ["none", "kl_div", "m3_kd_loss"])
@pytest.mark.parametrize(("n", "group"), [(4, 1), (3, 2), (2, 4)])
@pytest.mark.filterwarnings("ignore")  # theirs
def test_the_unified_loss_and_its_gradients_are_flagembeddings(flag, n, group, teacher, distil):
    model = flag(
        use_self_distill=distil,
        kd_loss_type="m3_kd_loss" if teacher == "none" else teacher,
    )
    queries, passages = texts(n, n, 9), texts(n + group, n * group, 14)
    rng = torch.Generator().manual_seed(group)
    grades = None if teacher == "none" else 3 * torch.randn(n, group, generator=rng)
    flat = None if grades is None else grades.flatten().tolist()
    theirs = model(queries, passages, teacher_scores=flat).loss
    ours = m3_loss(
        our_scores(model, queries, passages),
        torch.arange(n) * group,
        LossSettings(temperature=0.02, distil=distil, teacher=teacher),
        teacher_scores=grades,
    )
    torch.testing.assert_close(ours["loss"], theirs, rtol=1e-6, atol=1e-6)
    assert theirs.item() > 0.01
    parameters = list(model.parameters())
    mine, yours = (
        torch.autograd.grad(loss, parameters, allow_unused=True) for loss in (ours["loss"], theirs)
    )
    assert [g is None for g in mine] == [g is None for g in yours]  # unused position embeddings …
    used = [(a, b) for a, b in zip(mine, yours, strict=True) if a is not None]
    assert len(used) > len(parameters) / 2
    for a, b in used:
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def random_scores(seed, n, m, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    return {view: torch.rand(n, m, generator=rng, dtype=dtype).requires_grad_() for view in VIEWS}


@pytest.mark.filterwarnings("ignore")  # theirs
def test_every_part_is_flagembeddings(flag):
    model = flag()
    scores, target = random_scores(0, 4, 12), torch.arange(4) * 3
    rng = torch.Generator().manual_seed(1)
    grades = torch.randn(4, 3, generator=rng, dtype=torch.float64)
    taught = grades.softmax(dim=1)
    scaled = {view: x / 0.02 for view, x in scores.items()}
    scaled["ensemble"] = model.ensemble_score(
        None, None, *(scaled[view] for view in ("dense", "sparse", "colbert"))
    )
    ours = m3_loss(scores, target, LossSettings())
    for name, x in scaled.items():
        torch.testing.assert_close(ours[name], model.compute_loss(x, target))
    queries, passages = torch.empty(4, 1), torch.empty(12, 1)  # only their counts are read
    for kind in ("kl_div", "m3_kd_loss"):
        ours = m3_loss(scores, target, LossSettings(teacher=kind), teacher_scores=grades)
        for name, x in scaled.items():
            if kind == "kl_div":
                x_group = model.get_local_score(queries, passages, x)
                theirs = model.distill_loss(kind, taught, x_group) + model.compute_loss(x, target)
            else:
                theirs = model.distill_loss(kind, taught, x, group_size=3)
            torch.testing.assert_close(ours[name], theirs)


def cross_entropy(logits, position):
    return math.log(sum(math.exp(x) for x in logits)) - logits[position]


def test_without_in_batch_negatives_by_hand():
    """FlagEmbedding's ensemble loss is 0 here, and its self-teacher all ones (its issue 1410)."""
    scores = {
        "dense": torch.tensor([[2.0, 1.0, 9.0, 9.0], [9.0, 9.0, 0.0, 1.0]]),
        "sparse": torch.tensor([[0.0, 1.0, 9.0, 9.0], [9.0, 9.0, 2.0, 0.0]]),
        "colbert": torch.tensor([[1.0, 1.0, 9.0, 9.0], [9.0, 9.0, 3.0, 1.0]]),
    }
    others = torch.tensor([[False, False, True, True], [True, True, False, False]])
    loss = m3_loss(scores, torch.tensor([0, 2]), LossSettings(temperature=1.0), excluded=others)
    # Within its group each query has two scores: dense (2, 1) and (0, 1), and so on. With
    # softplus(x) = log(1 + exp(x)), two scores (a, b) have the loss softplus(b - a).
    dense = (0.3132617 + 1.3132617) / 2  # softplus(-1), softplus(1)
    sparse = (1.3132617 + 0.1269280) / 2  # softplus(1), softplus(-2)
    colbert = (0.6931472 + 0.1269280) / 2  # softplus(0), softplus(-2)
    # ensembles: (2 + 0 + 1, 1 + 0.3 + 1) = (3, 2.3) and (0 + 0.6 + 3, 1 + 0 + 1) = (3.6, 2)
    ensemble = (0.4031861 + 0.1839014) / 2  # softplus(-0.7), softplus(-1.6)
    # The ensemble gives its first passage the shares 0.6681878 and 0.8320184.
    a, b = 0.6681878, 0.8320184
    soft_dense = (a * 0.3132617 + (1 - a) * 1.3132617 + b * 1.3132617 + (1 - b) * 0.3132617) / 2
    soft_sparse = (a * 1.3132617 + (1 - a) * 0.3132617 + b * 0.1269280 + (1 - b) * 2.1269280) / 2
    soft_colbert = (0.6931472 + b * 0.1269280 + (1 - b) * 2.1269280) / 2
    contrast = (dense + ensemble + 0.1 * sparse + colbert) / 4
    distillation = (soft_dense + 0.1 * soft_sparse + soft_colbert) / 3
    expected = {
        "loss": (contrast + distillation) / 2,
        "dense": dense,
        "sparse": sparse,
        "colbert": colbert,
        "ensemble": ensemble,
        "distillation": distillation,
    }
    assert {name: x.item() for name, x in loss.items()} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("teacher", ["none", "kl_div", "m3_kd_loss"])
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 9999), m=st.integers(2, 6))
def test_excluding_a_passage_is_like_not_having_it(teacher, seed, m):
    rng = torch.Generator().manual_seed(seed)
    scores = random_scores(seed, 1, m)
    excluded = torch.rand(1, m, generator=rng) < 0.5
    excluded[0, 0] = False
    grades = torch.randn(1, m, generator=rng, dtype=torch.float64)
    first, how = torch.tensor([0]), LossSettings(teacher=teacher)
    ours = m3_loss(scores, first, how, excluded=excluded, teacher_scores=grades)
    left = {view: x[:, ~excluded[0]] for view, x in scores.items()}
    without = m3_loss(left, first, how, teacher_scores=grades[:, ~excluded[0]])
    for name, part in without.items():
        torch.testing.assert_close(ours[name], part)
    for gradient in torch.autograd.grad(ours["loss"], list(scores.values())):
        assert gradient.isfinite().all()
        assert (gradient[excluded] == 0).all()


@pytest.mark.parametrize("teacher", ["none", "kl_div", "m3_kd_loss"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_query_without_negatives_costs_nothing(teacher, dtype):
    scores = random_scores(0, 3, 6, dtype)
    target = torch.tensor([0, 2, 4])
    everything = torch.ones(3, 6, dtype=torch.bool)  # the positives, too: they are never excluded
    loss = m3_loss(
        scores,
        target,
        LossSettings(teacher=teacher, symmetric=True),
        excluded=everything,
        teacher_scores=torch.randn(3, 2, dtype=dtype),
    )
    assert all(part.item() == 0 for part in loss.values())
    for gradient in torch.autograd.grad(loss["loss"], list(scores.values())):
        assert (gradient == 0).all()


@pytest.mark.parametrize("teacher", ["none", "kl_div", "m3_kd_loss"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_gradients_by_finite_differences(teacher, symmetric):
    target = torch.tensor([0, 2, 4])
    excluded = torch.rand(3, 6, generator=torch.Generator().manual_seed(2)) < 0.3
    grades = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, -1.0]], dtype=torch.float64)
    how = LossSettings(temperature=0.5, distil=False, symmetric=symmetric, teacher=teacher)

    def loss(*scores):
        named = dict(zip(VIEWS, scores, strict=True))
        return m3_loss(named, target, how, excluded=excluded, teacher_scores=grades)["loss"]

    assert torch.autograd.gradcheck(loss, tuple(random_scores(4, 3, 6).values()))


def test_the_views_learn_from_their_sum_which_does_not_learn_from_them():
    scores, target = random_scores(5, 3, 6), torch.tensor([0, 2, 4])
    part = m3_loss(scores, target, LossSettings(temperature=0.5))["distillation"]
    gradients = torch.autograd.grad(part, list(scores.values()))
    with torch.no_grad():
        scaled = {view: x / 0.5 for view, x in scores.items()}
        taught = (scaled["dense"] + 0.3 * scaled["sparse"] + scaled["colbert"]).softmax(dim=1)
        for view, gradient, weight in zip(VIEWS, gradients, (1.0, 0.1, 1.0), strict=True):
            expected = (scaled[view].softmax(dim=1) - taught) / 0.5 / 3 * weight / 3
            torch.testing.assert_close(gradient, expected)


def test_self_distillation_can_be_off_or_wait():
    scores, target = random_scores(6, 3, 3), torch.arange(3)
    off = m3_loss(scores, target, LossSettings(distil=False))
    waiting = m3_loss(scores, target, LossSettings(), distil=False)
    assert off.keys() == waiting.keys() == {"loss", *VIEWS, "ensemble"}
    assert off["loss"].item() == waiting["loss"].item()
    mean = off["dense"] + off["ensemble"] + 0.1 * off["sparse"] + off["colbert"]
    torch.testing.assert_close(off["loss"], mean / 4)


def test_symmetric_is_the_mean_of_both_directions():
    scores, target = random_scores(7, 3, 6), torch.tensor([0, 2, 4])
    ours = m3_loss(scores, target, LossSettings(temperature=0.5, symmetric=True))
    for view in VIEWS:
        x = scores[view] / 0.5
        back = F.cross_entropy(x[:, target].T, torch.arange(3))
        torch.testing.assert_close(ours[view], (F.cross_entropy(x, target) + back) / 2)


def test_two_queries_of_one_passage_are_not_each_others_negatives():
    same = {view: torch.tensor([[1.0, 0.0], [5.0, 0.0]]) for view in VIEWS}
    how = LossSettings(temperature=1.0, symmetric=True)
    both = torch.tensor([0, 0])
    ours = m3_loss(same, both, how)["dense"].item()
    there = (math.log1p(math.exp(-1)) + math.log1p(math.exp(-5))) / 2  # and back: no other query
    assert ours == pytest.approx(there / 2, abs=1e-6)


def test_a_batch_without_teacher_scores_is_contrastive():
    scores, target = random_scores(8, 2, 4), torch.tensor([0, 2])
    plain = m3_loss(scores, target, LossSettings())["loss"]
    grades = torch.ones(2, 2)
    assert m3_loss(scores, target, LossSettings(teacher="kl_div"))["loss"] == plain
    assert m3_loss(scores, target, LossSettings(), teacher_scores=grades)["loss"] == plain


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_is_above_zero(temperature):
    with pytest.raises(InputError, match="temperature must be above 0"):
        LossSettings(temperature=temperature)


def test_an_unknown_teacher_is_an_error():
    with pytest.raises(InputError, match="No teacher is called 'kl'; there are none, kl_div, m3"):
        LossSettings(teacher="kl")


def test_shapes_that_do_not_fit_are_an_error():
    scores, target, how = random_scores(0, 3, 6), torch.tensor([0, 2, 4]), LossSettings()
    with pytest.raises(InputError, match=r"target \(n,\)"):
        m3_loss({**scores, "sparse": torch.ones(3, 5)}, target, how)
    with pytest.raises(InputError, match=r"target \(n,\)"):
        m3_loss(scores, target[:2], how)
    with pytest.raises(InputError, match=r"excluded must be \(3, 6\), got \(6, 3\)"):
        m3_loss(scores, target, how, excluded=torch.zeros(6, 3, dtype=torch.bool))
    with pytest.raises(InputError, match=r"teacher_scores must be \(3, group size\), got \(6,\)"):
        m3_loss(scores, target, how, teacher_scores=torch.ones(6))
