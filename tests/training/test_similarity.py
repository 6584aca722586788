"""The scores of a batch against their plain definitions: values, gradients and allocations."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from m3rag import scoring
from m3rag.errors import InputError
from m3rag.model import MultiVectors
from m3rag.training import similarity as module
from m3rag.training.similarity import colbert_scores, dense_scores, sparse_scores


@pytest.fixture(scope="module", autouse=True)
def small_tiles():
    """Shrink the tiles so that the small batches here need several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TEXTS", 3)
        patch.setattr(module, "_BUCKET", 2)
        patch.setattr(module, "_TILE", 40)
        yield


def vectors(seed, *shape, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    x = F.normalize(torch.randn(*shape, generator=rng, dtype=torch.float64), dim=-1)
    return x.to(dtype).requires_grad_()


def masks(seed, n, length):
    """Return masks with padding anywhere, and at least one real token in each text."""
    rng = torch.Generator().manual_seed(seed)
    mask = torch.rand(n, length, generator=rng) < 0.6
    return mask.scatter(1, torch.randint(length, (n, 1), generator=rng), True)


def terms(seed, n, length, vocabulary=7):
    """Return ids with repeats and weights with zeros, as after relu."""
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(vocabulary, (n, length), generator=rng)
    weights = torch.randn(n, length, generator=rng, dtype=torch.float64).relu()
    return ids, weights.requires_grad_()


def plain_colbert(queries, query_mask, passages, passage_mask):
    pairs = torch.einsum("qic,pjc->qpij", queries, passages)
    best = pairs.masked_fill(~passage_mask[None, :, None], -torch.inf).amax(dim=3)
    best = best.masked_fill(~query_mask[:, None], 0.0)
    return best.sum(dim=2) / query_mask.sum(dim=1)[:, None]


def plain_sparse(query_ids, query_weights, passage_ids, passage_weights, vocabulary):
    """Score as FlagEmbedding does: a vector of the vocabulary for each token, then the maximum."""
    q, p = (
        F.one_hot(ids, vocabulary).to(w.dtype).mul(w[..., None]).max(dim=1).values
        for ids, w in ((query_ids, query_weights), (passage_ids, passage_weights))
    )
    return q @ p.T


def same_with_gradients(ours, theirs, inputs):
    torch.testing.assert_close(ours, theirs)
    weight = torch.linspace(-1, 2, ours.numel(), dtype=ours.dtype).view_as(ours)
    for a, b in zip(
        torch.autograd.grad(ours, inputs, weight),
        torch.autograd.grad(theirs, inputs, weight),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


sizes = st.integers(1, 7)


@settings(deadline=None, max_examples=60)
@given(n=sizes, m=sizes, length=sizes, k=sizes, seed=st.integers(0, 999))
def test_colbert_is_the_mean_best_match(n, m, length, k, seed):
    q, p = vectors(seed, n, length, 5), vectors(seed + 1, m, k, 5)
    arguments = (q, masks(seed, n, length), p, masks(seed + 1, m, k))
    same_with_gradients(colbert_scores(*arguments), plain_colbert(*arguments), (q, p))


@settings(deadline=None, max_examples=60)
@given(n=sizes, m=sizes, length=sizes, k=sizes, seed=st.integers(0, 999))
def test_sparse_is_the_product_of_the_largest_weights(n, m, length, k, seed):
    (q_ids, q), (p_ids, p) = terms(seed, n, length), terms(seed + 1, m, k)
    ours = sparse_scores(q_ids, q, p_ids, p)
    theirs = plain_sparse(q_ids, q, p_ids, p, 7)
    torch.testing.assert_close(ours, theirs)
    # At a weight of 0, relu stops the gradient, so it does not matter how zeros share it.
    for ids, w in ((q_ids, q), (p_ids, p)):
        alive = w.detach() > 0
        a, b = (torch.autograd.grad(x.sum(), w, retain_graph=True)[0] for x in (ours, theirs))
        torch.testing.assert_close(a[alive], b[alive], msg=f"{ids=}")


def test_gradients_by_finite_differences():
    q, p = vectors(1, 4, 3, 5), vectors(2, 5, 6, 5)
    query_mask, passage_mask = masks(1, 4, 3), masks(2, 5, 6)
    assert torch.autograd.gradcheck(
        lambda a, b: colbert_scores(a, query_mask, b, passage_mask), (q, p)
    )
    (q_ids, w), (p_ids, v) = terms(3, 4, 6, 9), terms(4, 5, 8, 9)
    w, v = ((x.detach() + 0.1).requires_grad_() for x in (w, v))  # ties have no gradient
    v = (v.detach() + torch.arange(40).view(5, 8) / 1000).requires_grad_()
    w = (w.detach() + torch.arange(24).view(4, 6) / 1000).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: sparse_scores(q_ids, a, p_ids, b), (w, v))
    assert torch.autograd.gradcheck(dense_scores, (vectors(5, 3, 4), vectors(6, 2, 4)))


def test_equal_largest_weights_share_the_gradient():
    query = torch.tensor([[2.0]], requires_grad=True)
    passage = torch.tensor([[0.5, 0.5, 0.25]], requires_grad=True)
    ids = torch.tensor([[9, 9, 9]])
    sparse_scores(ids[:, :1], query, ids, passage).sum().backward()
    assert passage.grad.tolist() == [[1.0, 1.0, 0.0]]
    assert query.grad.tolist() == [[0.5]]


def test_padding_never_matches_even_below_zero():
    query, opposite = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[-1.0, 0.0], [0.0, 0.0]]])
    real = torch.tensor([[True, False]])
    assert colbert_scores(query, real[:, :1], opposite, real).tolist() == [[-1.0]]


def test_the_scores_are_those_of_m3rag_scoring():
    q, p = vectors(1, 2, 5, 8, dtype=torch.float32), vectors(2, 3, 6, 8, dtype=torch.float32)
    query_mask, passage_mask = masks(1, 2, 5), masks(2, 3, 6)
    rows = [x[mask].detach().numpy() for x, mask in zip(p, passage_mask, strict=True)]
    expected = [
        scoring.colbert_scores(x[mask].detach().numpy(), MultiVectors.from_rows(rows))
        for x, mask in zip(q, query_mask, strict=True)
    ]
    ours = colbert_scores(q, query_mask, p, passage_mask)
    np.testing.assert_allclose(ours.detach(), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_inputs_give_float32_scores_inside_autocast(dtype):
    q, p = vectors(1, 3, 4, 16, dtype=dtype), vectors(2, 5, 6, 16, dtype=dtype)
    query_mask, passage_mask = masks(1, 3, 4), masks(2, 5, 6)
    (q_ids, w), (p_ids, v) = terms(3, 3, 4), terms(4, 5, 6)
    w, v = (x.detach().to(dtype).requires_grad_() for x in (w, v))

    def scored(convert):
        a, b, c, d = map(convert, (q, p, w, v))
        return (
            dense_scores(a[:, 0], b[:, 0]),
            colbert_scores(a, query_mask, b, passage_mask),
            sparse_scores(q_ids, c, p_ids, d),
        )

    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = scored(lambda x: x)
    for a, b in zip(ours, scored(torch.Tensor.float), strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    gradients = torch.autograd.grad([x.sum() for x in ours], (q, p, w, v))
    assert {g.dtype for g in gradients} == {dtype}


def test_a_text_without_a_token_is_an_error():
    vector, mask = torch.ones(2, 3, 4), torch.tensor([[True] * 3, [False] * 3])
    with pytest.raises(InputError, match="1 have none"):
        colbert_scores(vector, mask, vector, torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(InputError, match="2 have none"):
        colbert_scores(vector, mask, vector, mask)


class Largest(TorchDispatchMode):
    """Records the size of the largest tensor that an operation returned."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        outputs = result if isinstance(result, tuple | list) else [result]
        self.numbers = max([self.numbers, *(x.numel() for x in outputs if torch.is_tensor(x))])
        return result


def test_nothing_grows_with_the_vocabulary(monkeypatch):
    monkeypatch.setattr(module, "_TEXTS", 256)
    (q_ids, w), (p_ids, v) = terms(1, 4, 10, 10**12), terms(2, 8, 20, 10**12)
    with Largest() as largest:
        sparse_scores(q_ids, w, p_ids, v).sum().backward()
    assert largest.numbers <= 8 * 4 * 10  # passages x the queries' tokens


def test_nothing_holds_all_pairs_of_tokens(monkeypatch):
    monkeypatch.setattr(module, "_TILE", 1 << 12)
    q, p = vectors(1, 16, 20, 4), vectors(2, 32, 30, 4)
    mask = torch.ones(16, 20, dtype=torch.bool), torch.ones(32, 30, dtype=torch.bool)
    with Largest() as largest:
        colbert_scores(q, mask[0], p, mask[1]).sum().backward()
    # At most query tokens x passages; all pairs of tokens would be 30 times that.
    assert 1 << 11 < largest.numbers <= 16 * 20 * 32
