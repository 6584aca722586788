"""The M3 loss: values by hand, exclusion, directions, gradients and errors."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from m3rag.errors import InputError
from m3rag.training.losses import VIEWS, LossSettings, m3_loss, off_centre
from tests.training.conftest import random_scores


def test_without_in_batch_negatives_by_hand():
    """FlagEmbedding's ensemble loss is 0 here, its self-teacher all ones (FlagEmbedding #1410)."""
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
def test_excluding_a_passage_is_like_leaving_it_out(teacher, seed, m):
    rng = torch.Generator().manual_seed(seed)
    scores = random_scores(seed, 1, m)
    excluded = torch.rand(1, m, generator=rng) < 0.5
    excluded[0, 0] = False
    grades = torch.randn(1, m, generator=rng, dtype=torch.float64)
    first, config = torch.tensor([0]), LossSettings(teacher=teacher)
    ours = m3_loss(scores, first, config, excluded=excluded, teacher_scores=grades)
    left = {view: x[:, ~excluded[0]] for view, x in scores.items()}
    without = m3_loss(left, first, config, teacher_scores=grades[:, ~excluded[0]])
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
    config = LossSettings(temperature=0.5, distil=False, symmetric=symmetric, teacher=teacher)

    def loss(*scores):
        named = dict(zip(VIEWS, scores, strict=True))
        return m3_loss(named, target, config, excluded=excluded, teacher_scores=grades)["loss"]

    assert torch.autograd.gradcheck(loss, tuple(random_scores(4, 3, 6).values()))


def test_the_views_learn_from_their_sum_but_not_the_reverse():
    scores, target = random_scores(5, 3, 6), torch.tensor([0, 2, 4])
    part = m3_loss(scores, target, LossSettings(temperature=0.5))["distillation"]
    gradients = torch.autograd.grad(part, list(scores.values()))
    with torch.no_grad():
        scaled = {view: x / 0.5 for view, x in scores.items()}
        taught = (scaled["dense"] + 0.3 * scaled["sparse"] + scaled["colbert"]).softmax(dim=1)
        for view, gradient, weight in zip(VIEWS, gradients, (1.0, 0.1, 1.0), strict=True):
            expected = (scaled[view].softmax(dim=1) - taught) / 0.5 / 3 * weight / 3
            torch.testing.assert_close(gradient, expected)


def test_self_distillation_can_be_off_or_start_later():
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
    config = LossSettings(temperature=1.0, symmetric=True)
    both = torch.tensor([0, 0])
    ours = m3_loss(same, both, config)["dense"].item()
    there = (
        math.log1p(math.exp(-1)) + math.log1p(math.exp(-5))
    ) / 2  # backward there is no other query
    assert ours == pytest.approx(there / 2, abs=1e-6)


def test_a_batch_without_teacher_scores_is_contrastive():
    scores, target = random_scores(8, 2, 4), torch.tensor([0, 2])
    plain = m3_loss(scores, target, LossSettings())["loss"]
    grades = torch.ones(2, 2)
    assert m3_loss(scores, target, LossSettings(teacher="kl_div"))["loss"] == plain
    assert m3_loss(scores, target, LossSettings(), teacher_scores=grades)["loss"] == plain


def test_vectors_of_a_teacher_by_hand():
    scores = {view: torch.tensor([[0.5, 0.1]]) for view in VIEWS}
    config = LossSettings(
        temperature=0.2, teacher_vectors_temperature=0.1, teacher_vectors_weight=3, distil_weight=2
    )
    vectors = torch.tensor([[0.9, 0.8]])
    ours = m3_loss(scores, torch.tensor([0]), config, vector_scores=vectors)
    # The teacher's share of the first passage is sigmoid(0.1 / 0.1), the student's sigmoid(2).
    taught, student = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-2))
    divergence = taught * math.log(taught / student)
    divergence += (1 - taught) * math.log((1 - taught) / (1 - student))
    assert ours["teacher_vectors"].item() == pytest.approx(divergence, abs=1e-6)
    contrast = (ours["dense"] + ours["ensemble"] + 0.1 * ours["sparse"] + ours["colbert"]) / 4
    total = (contrast + 2 * ours["distillation"] + 3 * divergence) / (1 + 2 + 3)
    torch.testing.assert_close(ours["loss"], total)


def test_an_excluded_passage_has_no_share_of_the_vectors():
    scores, vectors = random_scores(3, 2, 3), torch.rand(2, 3, dtype=torch.float64)
    excluded = torch.tensor([[False, False, True], [False, False, True]])
    target = torch.tensor([0, 1])
    ours = m3_loss(scores, target, LossSettings(), excluded=excluded, vector_scores=vectors)
    left = {view: x[:, :2] for view, x in scores.items()}
    without = m3_loss(left, target, LossSettings(), vector_scores=vectors[:, :2])
    torch.testing.assert_close(ours["teacher_vectors"], without["teacher_vectors"])
    for gradient in torch.autograd.grad(ours["loss"], list(scores.values())):
        assert gradient.isfinite().all()


def test_weights_of_the_views():
    scores, target = random_scores(9, 3, 6), torch.tensor([0, 2, 4])
    config = LossSettings(dense_weight=2, sparse_weight=0, colbert_weight=0.5, ensemble_weight=3)
    ours = m3_loss(scores, target, config)
    contrast = (2 * ours["dense"] + 0.5 * ours["colbert"] + 3 * ours["ensemble"]) / 4
    torch.testing.assert_close(ours["loss"], (contrast + ours["distillation"]) / 2)
    with pytest.raises(InputError, match="All weights of the views are 0"):
        LossSettings(dense_weight=0, sparse_weight=0, colbert_weight=0, ensemble_weight=0)
    with pytest.raises(InputError, match="`sparse_weight` must be at least 0, got nan"):
        LossSettings(sparse_weight=math.nan)


def test_off_centre_is_the_mean_score_of_random_pairs():
    rng = torch.Generator().manual_seed(0)
    queries, passages = (F.normalize(torch.randn(n, 8, generator=rng) + 1) for n in (50, 70))
    expected = ((queries @ queries.T).mean() + (passages @ passages.T).mean()) / 2
    torch.testing.assert_close(off_centre(queries, passages), expected)
    opposite = torch.cat([queries, -queries])
    assert off_centre(opposite, opposite).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_temperature_must_be_above_zero(temperature):
    with pytest.raises(InputError, match="`temperature` must be above 0"):
        LossSettings(temperature=temperature)


def test_an_unknown_teacher_is_an_error():
    with pytest.raises(InputError, match="must be one of 'none', 'kl_div', 'm3_kd_loss', got 'kl'"):
        LossSettings(teacher="kl")


def test_shapes_that_do_not_match_are_an_error():
    scores, target, config = random_scores(0, 3, 6), torch.tensor([0, 2, 4]), LossSettings()
    with pytest.raises(InputError, match=r"`target` \(n,\)"):
        m3_loss({**scores, "sparse": torch.ones(3, 5)}, target, config)
    with pytest.raises(InputError, match=r"`target` \(n,\)"):
        m3_loss(scores, target[:2], config)
    with pytest.raises(InputError, match=r"`excluded` must be \(3, 6\), got \(6, 3\)"):
        m3_loss(scores, target, config, excluded=torch.zeros(6, 3, dtype=torch.bool))
    with pytest.raises(InputError, match=r"`vector_scores` must be \(3, 6\), got \(3, 3\)"):
        m3_loss(scores, target, config, vector_scores=torch.ones(3, 3))
    with pytest.raises(InputError, match=r"`teacher_scores` must be \(3, group size\), got \(6,\)"):
        m3_loss(scores, target, config, teacher_scores=torch.ones(6))
