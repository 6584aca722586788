"""Balancing the scores of groups."""

import numpy as np
import pytest

from m3rag.scoring import balanced
from m3rag.scoring.fusion import FEW

GROUPS = np.array(["en"] * 5 + ["es"] * 5)
SCORES = np.array([0.9, 0.8, 0.8, 0.8, 0.7, 0.35, 0.2, 0.2, 0.2, 0.05], np.float32)


def test_each_group_gets_the_mean_and_deviation_of_all():
    found = balanced(SCORES, GROUPS)
    whole = SCORES.std()
    step = whole / np.sqrt(2 / 5)  # both groups are (1, 0, 0, 0, -1) at another place and scale
    expected = 0.5 + step * np.array([1, 0, 0, 0, -1] * 2)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32


def test_each_row_is_balanced_on_its_own():
    rows = np.stack([SCORES, SCORES[::-1]])
    np.testing.assert_allclose(balanced(rows, GROUPS)[1], balanced(SCORES[::-1], GROUPS))


def test_a_single_group_keeps_its_scores():
    np.testing.assert_array_equal(balanced(SCORES, np.array(["null"] * 10)), SCORES)


@pytest.mark.parametrize("size", range(1, FEW))
def test_a_small_group_keeps_its_scores(size):
    scores = np.append(SCORES, np.linspace(0.4, 0.6, size, dtype=np.float32))
    found = balanced(scores, np.append(GROUPS, ["de"] * size))
    np.testing.assert_array_equal(found[10:], scores[10:])
    assert found[5] == pytest.approx(found[0])


def test_equal_scores_of_a_group_get_the_mean():
    scores = np.array([0.0] * 5 + [0.1, 0.2, 0.3, 0.4, 0.5], np.float32)
    np.testing.assert_allclose(balanced(scores, GROUPS)[:5], scores.mean(), atol=1e-6)


def test_no_scores():
    assert balanced(np.zeros(0, np.float32), np.zeros(0, str)).shape == (0,)
