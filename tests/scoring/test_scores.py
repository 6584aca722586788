"""The three scores, each compared with a naive implementation."""

import numpy as np
import pytest

from m3rag.errors import InputError
from m3rag.model import MultiVectors, SparseVectors
from m3rag.scoring import colbert_scores, dense_scores, sparse_scores

RNG = np.random.default_rng(7)


def unit(*shape):
    vectors = RNG.normal(size=shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def sparse(n, *, vocabulary=40, size=12):
    return SparseVectors.from_dicts(
        [
            {int(t): float(RNG.random()) + 0.01 for t in RNG.choice(vocabulary, RNG.integers(size))}
            for _ in range(n)
        ]
    )


def test_dense_scores_are_inner_products():
    q, p = unit(3, 16), unit(5, 16)
    naive = [[sum(float(x) * float(y) for x, y in zip(a, b, strict=True)) for b in p] for a in q]
    scores = dense_scores(q, p)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, naive, atol=1e-6)


def test_sparse_scores_sum_products_over_common_tokens():
    q, p = sparse(4), sparse(50)
    naive = [[sum(w * b[t] for t, w in a.items() if t in b) for b in p] for a in q]
    scores = sparse_scores(q, p)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, naive, rtol=1e-6)


def test_sparse_scores_of_token_ids_beyond_the_table():
    big = 2**31 - 1
    q = SparseVectors.from_dicts([{3: 2.0, big: 5.0}, {}])
    p = SparseVectors.from_dicts([{big: 1.0}, {}, {3: 1.0, 4: 9.0}, {big - 1: 7.0}])
    np.testing.assert_array_equal(sparse_scores(q, p), [[5, 0, 2, 0], [0, 0, 0, 0]])


def test_sparse_scores_do_not_lose_small_terms():
    n = 20_000  # a sum in float32, one by one, is off by 1e-4, in float16 by 0.1
    q = SparseVectors.from_dicts([dict.fromkeys(range(n), 1.0)])
    p = SparseVectors.from_dicts([dict.fromkeys(range(n), 0.1)])
    assert sparse_scores(q, p)[0, 0] == pytest.approx(n * float(np.float32(0.1)), rel=1e-7)


def test_sparse_scores_of_no_passages():
    assert sparse_scores(sparse(2), SparseVectors.from_dicts([])).shape == (2, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_colbert_scores_are_the_mean_of_the_best_matches(dtype):
    q = unit(6, 16)
    p = MultiVectors.from_rows([unit(n, 16).astype(dtype) for n in (1, 7, 300, 2)])
    naive = [np.mean([max(float(a @ b.astype(np.float32)) for b in v) for a in q]) for v in p]
    scores = colbert_scores(q, p)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, naive, atol=1e-6)


def test_colbert_scores_do_not_depend_on_the_chunk_size(monkeypatch):
    q = unit(5, 8)
    p = MultiVectors.from_rows([unit(n, 8) for n in RNG.integers(1, 40, 60)])
    whole = colbert_scores(q, p)
    for rows in (1, 13, 64):
        monkeypatch.setattr("m3rag.scoring.scores._LEAST", 0)
        monkeypatch.setattr("m3rag.scoring.scores._MOST", rows)
        np.testing.assert_allclose(colbert_scores(q, p), whole, atol=1e-6)


def test_colbert_scores_have_no_floor_at_zero():
    q = np.array([[1.0, 0.0]], np.float32)
    p = MultiVectors.from_rows([np.array([[-1.0, 0.0]], np.float32), -unit(3, 2)[:, :1] @ [[0, 1]]])
    assert colbert_scores(q, p)[0] == -1.0


def test_colbert_scores_need_vectors():
    with pytest.raises(InputError, match="at least one vector"):
        colbert_scores(unit(2, 4), MultiVectors(np.array([0, 1, 1]), unit(1, 4)))
    with pytest.raises(InputError, match="at least one vector"):
        colbert_scores(unit(0, 4), MultiVectors.from_rows([unit(1, 4)]))
