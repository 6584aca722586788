"""FlagEmbedding's five scores, with the bundled model."""

import numpy as np
import pytest

from m3rag import compute_score
from m3rag.errors import InputError

PAIRS = [
    ("What is BGE M3?", "BGE M3 is an embedding model supporting dense and sparse retrieval."),
    ("What is BGE M3?", "BM25 is a ranking function."),
    ("¿Dónde crecen los helechos?", "Ferns grow in the shade."),
]


def test_scores_follow_the_formulas(tiny):
    weights = (0.4, 0.2, 0.5)
    scores = compute_score(tiny, PAIRS, weights=weights)
    for i, (query, passage) in enumerate(PAIRS):
        q, p = tiny.encode([query]), tiny.encode([passage])
        dense = float(q.dense[0] @ p.dense[0])
        sparse = sum(w * p.sparse[0].get(t, 0.0) for t, w in q.sparse[0].items())
        colbert = float((q.colbert[0] @ p.colbert[0].T).max(axis=1).mean())
        assert scores["dense"][i] == pytest.approx(dense, abs=1e-5)
        assert scores["sparse"][i] == pytest.approx(sparse, abs=1e-5)
        assert scores["colbert"][i] == pytest.approx(colbert, abs=1e-5)
        two = (0.4 * dense + 0.2 * sparse) / 0.6
        three = (0.4 * dense + 0.2 * sparse + 0.5 * colbert) / 1.1
        assert scores["sparse+dense"][i] == pytest.approx(two, abs=1e-5)
        assert scores["colbert+sparse+dense"][i] == pytest.approx(three, abs=1e-5)


def test_keys_are_flagembeddings(tiny):
    keys = ["colbert", "sparse", "dense", "sparse+dense", "colbert+sparse+dense"]
    assert list(compute_score(tiny, PAIRS)) == keys


def test_no_pairs_give_empty_lists(tiny):
    assert all(column == [] for column in compute_score(tiny, []).values())


def test_weights_that_sum_to_zero_give_zero_not_nan(tiny):
    scores = compute_score(tiny, PAIRS, weights=(0, 0, 1))
    assert scores["sparse+dense"] == [0.0, 0.0, 0.0]
    assert scores["colbert+sparse+dense"] == pytest.approx(scores["colbert"])
    assert compute_score(tiny, PAIRS, weights=(0, 0, 0))["colbert+sparse+dense"] == [0.0] * 3


def test_more_pairs_than_one_batch(tiny, monkeypatch):
    whole = compute_score(tiny, PAIRS)
    monkeypatch.setattr("m3rag.scoring.scores._PAIRS", 2)
    for name, column in compute_score(tiny, PAIRS).items():
        np.testing.assert_allclose(column, whole[name], atol=1e-6)


@pytest.mark.filterwarnings("ignore::m3rag.errors.TruncationWarning")
def test_queries_and_passages_have_separate_lengths(tiny):
    long = " ".join(["fern"] * 50)
    short = compute_score(tiny, [(long, long)], max_query_length=5)["colbert"][0]
    q, p = tiny.encode([long], max_length=5), tiny.encode([long])
    naive = float((q.colbert[0] @ p.colbert[0].T).max(axis=1).mean())
    assert short == pytest.approx(naive, abs=1e-5)


def test_a_single_pair_must_be_in_a_list(tiny):
    with pytest.raises(InputError, match=r"pairs\[0\].*\[\(query, passage\)\]"):
        compute_score(tiny, ("a query", "a passage"))


@pytest.mark.parametrize("weights", [(1, 1), (1, -1, 1), (1, float("nan"), 1)])
def test_bad_weights_are_refused(tiny, weights):
    with pytest.raises(InputError, match="three numbers"):
        compute_score(tiny, PAIRS, weights=weights)
