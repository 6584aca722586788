"""Maximal marginal relevance, compared with LangChain's."""

import numpy as np
import pytest
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from m3rag import Hit, Passage
from m3rag.errors import InputError
from m3rag.index.diversity import diversify
from tests.index.test_index import QUERY, ids


@pytest.mark.parametrize("relevance", [0, 0.1, 0.5, 0.9, 1])
def test_dense_scores_give_langchains_choice(relevance):
    rng = np.random.default_rng(5)
    for _ in range(10):
        vectors = rng.normal(size=(20, 8)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        query, vectors = vectors[0], vectors[1:]
        scores = vectors @ query
        order = np.argsort(-scores)
        hits = [Hit(float(scores[i]), Passage(f"p{i}", "x"), dense=float(scores[i])) for i in order]
        found = diversify(hits, list(vectors[order]), 6, relevance)
        expected = maximal_marginal_relevance(
            query, list(vectors[order]), lambda_mult=relevance, k=6
        )
        assert ids(found) == [hits[i].passage.id for i in expected]


def test_fused_scores_are_kept_and_scaled(index):
    hits = index.search(QUERY, 5, weights=(1, 1, 1, 1))
    assert index.diversify(hits, 5, relevance=1) == hits
    assert index.diversify(hits, 2, relevance=1) == hits[:2]
    found = index.diversify(hits, 5, relevance=0)
    assert found[0] == hits[0]
    assert {*ids(found)} == {*ids(hits)}


def test_a_copy_comes_last(own):
    own.add([Passage("copy", own.get(["fern"])[0].text)])
    hits = own.search(QUERY, 3, channels=["dense", "sparse"])
    assert {*ids(hits[:2])} == {"fern", "copy"}
    chosen = ids(own.diversify(hits, 3, relevance=0.5))
    assert chosen[0] in ("fern", "copy")
    assert chosen[1] not in ("fern", "copy")


def test_deleted_passages_are_left_out(own):
    hits = own.search(QUERY, 3)
    own.delete([hits[0].passage.id])
    assert own.diversify(hits, 3, relevance=1) == hits[1:]
    assert own.diversify([], 3) == []


@pytest.mark.parametrize(
    ("k", "relevance", "message"),
    [(0, 0.5, "`k`"), (2, 1.5, "`relevance`"), (2, True, "`relevance`"), (2, "1", "`relevance`")],
)
def test_what_is_refused(index, k, relevance, message):
    with pytest.raises(InputError, match=message):
        index.diversify([], k, relevance=relevance)
