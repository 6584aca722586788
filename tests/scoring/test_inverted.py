"""Inverted lists give the same scores as a scan of all entries."""

import numpy as np
import pytest

from m3rag.model import SparseVectors
from m3rag.scoring import InvertedLists, sparse_scores

VOCABULARY = 30


def random_rows(rng, n, most):
    """Return n passages of fewer than `most` tokens; every fifth and the last are empty."""
    rows = []
    for i in range(n):
        size = 0 if i % 5 == 0 or i == n - 1 else int(rng.integers(most))
        tokens = rng.choice(VOCABULARY, size, replace=False)
        rows.append({int(t): float(rng.random()) + 0.01 for t in tokens})
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_those_of_a_scan(seed):
    rng = np.random.default_rng(seed)
    passages = SparseVectors.from_dicts(random_rows(rng, 60, 12))
    unknown = {VOCABULARY: 3.0, 2**31 - 1: 5.0}
    queries = SparseVectors.from_dicts([*random_rows(rng, 12, 8), unknown, {4: 2.0, **unknown}])
    lists, expected = InvertedLists(passages), sparse_scores(queries, passages)
    assert expected.any()
    for i in range(len(queries)):
        scores = lists.scores(*queries.rows(i))
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected[i], rtol=1e-7)


def test_scores_of_known_passages():
    lists = InvertedLists(SparseVectors.from_dicts([{}, {3: 0.5, 7: 2.0}, {7: 1.0}, {}]))
    scores = lists.scores(np.array([7, 9, 3], np.int32), np.array([2, 100, 4], np.float32))
    np.testing.assert_array_equal(scores, [0, 6, 2, 0])


@pytest.mark.parametrize("rows", [[], [{}, {}, {}]])
def test_passages_without_tokens(rows):
    lists = InvertedLists(SparseVectors.from_dicts(rows))
    tokens = np.array([1, 2], np.int32)
    np.testing.assert_array_equal(lists.scores(tokens, np.ones(2, np.float32)), np.zeros(len(rows)))
    np.testing.assert_array_equal(lists.counts(tokens), [0, 0])


def test_counts_are_passages_with_the_token():
    rows = random_rows(np.random.default_rng(9), 80, 12)
    tokens = np.array([*range(VOCABULARY), VOCABULARY, 2**31 - 1], np.int32)
    counts = InvertedLists(SparseVectors.from_dicts(rows)).counts(tokens)
    assert counts.tolist() == [sum(int(t) in row for row in rows) for t in tokens]
