"""Weighted sum, reciprocal rank fusion, and the forms of weights."""

import numpy as np
import pytest

from m3rag.errors import InputError
from m3rag.scoring import PRESETS, parse_weights, reciprocal_rank_fusion, weighted_sum


def column(*scores):
    return np.array(scores, np.float32)


def test_weighted_sum_divides_by_the_weights_sum():
    fused = weighted_sum(
        {"dense": column(0.6, 0.2), "sparse": column(0.1, 0.9)}, {"dense": 3.0, "sparse": 1.0}
    )
    assert fused.dtype == np.float32
    assert fused == pytest.approx([(1.8 + 0.1) / 4, (0.6 + 0.9) / 4])


def test_weighted_sum_ignores_channels_without_weight():
    scores = {"dense": column(0.6, 0.2), "bm25": column(7.0, 30.0)}
    assert weighted_sum(scores, {"dense": 1.0}) == pytest.approx([0.6, 0.2])


def test_rrf_sums_weight_over_k_plus_rank():
    scores = {"dense": column(0.9, 0.8, 0.7), "colbert": column(0.1, 0.3, 0.2)}
    fused = reciprocal_rank_fusion(scores, {"dense": 1.0, "colbert": 2.0})
    assert fused == pytest.approx([1 / 61 + 2 / 63, 1 / 62 + 2 / 61, 1 / 63 + 2 / 62])


def test_rrf_uses_its_weights():
    scores = {"dense": column(0.9, 0.1), "sparse": column(0.1, 0.9)}
    dense = reciprocal_rank_fusion(scores, {"dense": 1.0, "sparse": 0.1})
    sparse = reciprocal_rank_fusion(scores, {"dense": 0.1, "sparse": 1.0})
    assert dense[0] > dense[1]
    assert sparse[0] < sparse[1]


def test_rrf_ties_share_the_best_rank():
    fused = reciprocal_rank_fusion({"dense": column(0.5, 0.9, 0.5, 0.1)}, {"dense": 1.0})
    assert fused == pytest.approx([1 / 62, 1 / 61, 1 / 62, 1 / 64])


def test_rrf_does_not_depend_on_the_order_of_passages():
    rng = np.random.default_rng(3)
    scores = {c: rng.integers(0, 4, 30).astype(np.float32) for c in ("dense", "sparse")}
    weights = {"dense": 1.0, "sparse": 0.5}
    order = rng.permutation(30)
    shuffled = {c: s[order] for c, s in scores.items()}
    whole = reciprocal_rank_fusion(scores, weights)
    np.testing.assert_array_equal(reciprocal_rank_fusion(shuffled, weights), whole[order])


def test_rrf_adds_nothing_without_a_common_token():
    fused = reciprocal_rank_fusion({"sparse": column(0.0, 0.2, 0.0)}, {"sparse": 1.0})
    assert fused == pytest.approx([0, 1 / 61, 0])


def test_rrf_ranks_a_dense_score_of_zero():
    fused = reciprocal_rank_fusion({"dense": column(0.0, -0.2)}, {"dense": 1.0})
    assert fused == pytest.approx([1 / 61, 1 / 62])


def test_rrf_with_another_k():
    fused = reciprocal_rank_fusion({"dense": column(0.5, 0.9)}, {"dense": 1.0}, k=1)
    assert fused == pytest.approx([1 / 3, 1 / 2])


def test_fusion_of_no_passages():
    assert weighted_sum({"dense": column()}, {"dense": 1.0}).shape == (0,)
    assert reciprocal_rank_fusion({"dense": column()}, {"dense": 1.0}).shape == (0,)


def test_presets_are_the_papers():
    assert PRESETS["default"] == {"dense": 1.0, "sparse": 0.3, "colbert": 1.0, "bm25": 0.0}
    long = {"dense": 0.15, "sparse": 0.5, "colbert": 0.35, "bm25": 0.0}
    assert PRESETS["long-document"] == long
    assert PRESETS["cross-lingual"]["sparse"] < PRESETS["default"]["sparse"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("default", (1.0, 0.3, 1.0, 0.0)),
        ((0.4, 0.2, 0.4), (0.4, 0.2, 0.4, 0.0)),
        ([1, 2, 3, 4], (1.0, 2.0, 3.0, 4.0)),
        ({"bm25": 2, "dense": 1}, (1.0, 0.0, 0.0, 2.0)),
        (np.array([1.0, 0.5, 0.25]), (1.0, 0.5, 0.25, 0.0)),
    ],
)
def test_weights_come_in_many_forms(given, expected):
    assert tuple(parse_weights(given).values()) == expected


def test_a_parsed_preset_can_be_changed_without_changing_the_preset():
    parse_weights("default")["dense"] = 99.0
    assert PRESETS["default"]["dense"] == 1.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("fastest", '"default", "long-document", "cross-lingual"'),
        ((1, 2), "3 or 4 numbers .*got 2"),
        ({"dens": 1}, '"dense", "sparse", "colbert", "bm25"'),
        ((1, -0.5, 1), "weight of sparse .*-0.5"),
        ((1, float("inf"), 1), "weight of sparse .*inf"),
        ((1, "a", 1), "weight of sparse must be a number"),
        ((1, True, 1), "weight of sparse must be a number"),
    ],
)
def test_invalid_weights(given, message):
    with pytest.raises(InputError, match=message):
        parse_weights(given)
