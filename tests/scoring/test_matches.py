"""The tokens that a query and a passage have in common."""

import pytest

from m3rag.scoring import matched_tokens


def test_common_tokens_the_largest_product_first():
    query = {1: 0.5, 2: 0.1, 3: 0.9}
    passage = {2: 0.9, 3: 0.2, 4: 1.0, 1: 0.1}
    assert matched_tokens(query, passage) == [(3, 0.9, 0.2), (2, 0.1, 0.9), (1, 0.5, 0.1)]


def test_equal_products_in_the_order_of_token_ids():
    assert [t for t, _, _ in matched_tokens({9: 1.0, 2: 2.0}, {2: 1.0, 9: 2.0})] == [2, 9]


def test_products_add_up_to_the_sparse_score():
    query, passage = {1: 0.5, 2: 0.25}, {1: 0.5, 2: 0.5, 3: 1.0}
    assert sum(q * p for _, q, p in matched_tokens(query, passage)) == pytest.approx(0.375)


def test_no_common_tokens():
    assert matched_tokens({1: 1.0}, {2: 1.0}) == []
