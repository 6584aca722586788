"""BM25 compared with its formula and with rank-bm25, whose idf differs."""

import math

import numpy as np
import pytest
from rank_bm25 import BM25Okapi

from m3rag.errors import InputError
from m3rag.model import SparseVectors
from m3rag.scoring import BM25, sparse_scores
from m3rag.scoring.bm25 import idf

RNG = np.random.default_rng(5)
CORPUS = [RNG.zipf(1.4, RNG.integers(5, 60)).clip(max=200).tolist() for _ in range(80)]
QUERIES = [RNG.zipf(1.2, 4).clip(max=200).tolist() for _ in range(30)]


def okapi():
    return BM25Okapi(CORPUS, k1=1.2, b=0.75)


def stored(average):
    return BM25(average_length=average).passages(CORPUS)


def test_the_stored_weight_follows_the_formula():
    weights = BM25(k1=1.2, b=0.75, average_length=10).passages([[7, 7, 7, 9]])[0]
    length = 1.2 * (1 - 0.75 + 0.75 * 4 / 10)
    expected = {7: 3 * 2.2 / (3 + length), 9: 1 * 2.2 / (1 + length)}
    assert weights == pytest.approx(expected, rel=1e-6)


def test_idf_is_lucenes():
    assert idf(10, np.array([3, 10])) == pytest.approx(
        [math.log(1 + 7.5 / 3.5), math.log(1 + 0.5 / 10.5)]
    )


def test_scores_equal_rank_bm25s_with_its_idf():
    """Only the idf differs."""
    theirs = okapi()
    passages = stored(theirs.avgdl)
    for query in QUERIES:
        vector = BM25().queries([query])
        lifted = np.array([theirs.idf.get(int(t), 0.0) for t in vector.indices])
        vector = SparseVectors(vector.indptr, vector.indices, (vector.values * lifted).astype("f4"))
        scores = sparse_scores(vector, passages)[0]
        np.testing.assert_allclose(scores, theirs.get_scores(query), rtol=1e-5, atol=1e-5)


def test_rankings_agree_with_rank_bm25_on_rare_tokens():
    """The idf of rank-bm25 is negative for a token in more than half of the passages."""
    theirs = okapi()
    passages = stored(theirs.avgdl)
    frequencies = {t: sum(t in text for text in CORPUS) for text in CORPUS for t in text}
    rare = [t for t, n in frequencies.items() if n < 10]
    for token in rare[:40]:
        vector = BM25().queries([[token]])
        weight = idf(len(CORPUS), np.array([frequencies[token]]))
        vector = SparseVectors(vector.indptr, vector.indices, weight.astype(np.float32))
        ours, reference = sparse_scores(vector, passages)[0], theirs.get_scores([token])
        by_ours = np.lexsort((np.arange(len(CORPUS)), -ours.round(4)))
        scale = weight[0] / theirs.idf[token]
        by_reference = np.lexsort((np.arange(len(CORPUS)), -(reference * scale).round(4)))
        np.testing.assert_array_equal(by_ours, by_reference)


def test_a_query_counts_repeats():
    assert BM25().queries([[5, 3, 5]])[0] == {3: 1.0, 5: 2.0}


def test_empty_texts_have_no_tokens():
    assert BM25().passages([[], [4]])[0] == {}
    assert BM25().queries([[]])[0] == {}


def test_longer_passages_score_lower_unless_b_is_zero():
    texts = [[1] + [2] * 10, [1] + [2] * 500]
    short, long = (w[1] for w in BM25().passages(texts))
    assert short > long
    flat = [w[1] for w in BM25(b=0).passages(texts)]
    assert flat[0] == flat[1]


@pytest.mark.parametrize("settings", [{"k1": -1}, {"b": 1.5}, {"average_length": 0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match="k1 >= 0"):
        BM25(**settings)


@pytest.mark.parametrize("token", [-1, 2**31])
def test_token_ids_out_of_range_are_refused(token):
    with pytest.raises(InputError, match=str(token)):
        BM25().passages([[1, token]])
