"""Search by a vector, stored vectors, and rescoring of texts found elsewhere."""

import numpy as np
import pytest

from m3rag import compute_score
from m3rag.errors import InputError, ModelMismatchError, StorageError
from m3rag.scoring import score_texts
from tests.index.conftest import PASSAGES
from tests.index.test_index import QUERY

TEXTS = [passage.text for passage in PASSAGES]
IDS = [passage.id for passage in PASSAGES]


def test_the_vector_of_a_query_gives_the_same_hits(index, tiny):
    vector = tiny.encode([QUERY]).dense[0]
    expected = index.search(QUERY, 3, channels=["dense"])
    for given in (vector, vector.tolist(), vector.astype(np.float64)):
        hits = index.search_by_vector(given, 3)
        assert [hit.passage for hit in hits] == [hit.passage for hit in expected]
        assert [hit.dense for hit in hits] == pytest.approx([hit.dense for hit in expected])
        assert all(h.score == h.dense and h.sparse is None and h.matched == () for h in hits)


def test_with_a_filter(index, tiny):
    vector = tiny.encode([QUERY]).dense[0]
    assert [h.passage.id for h in index.search_by_vector(vector, filter={"lang": "es"})] == [
        "helecho"
    ]


@pytest.mark.parametrize("vector", [[1.0], [[0.0] * 256], [float("inf")] * 256])
def test_an_invalid_vector(index, vector):
    message = "256 finite numbers, like the vectors of the model 'tiny'"
    with pytest.raises(InputError, match=message):
        index.search_by_vector(vector)


def test_stored_dense_vectors(index, tiny):
    found = index.dense_vectors(["m3", "missing", "fern"])
    texts = [next(p.text for p in PASSAGES if p.id == i) for i in ("m3", "fern")]
    assert np.allclose([found[0], found[2]], tiny.encode(texts).dense, atol=1e-5)
    assert found[1] is None


def test_a_closed_index_raises(own):
    own.close()
    with pytest.raises(StorageError, match="closed"):
        own.dense_vectors(["fern"])
    with pytest.raises(StorageError, match="closed"):
        own.search_by_vector([0.0] * 256)


def test_score_texts_gives_the_scores_of_the_model(tiny):
    fused, columns = score_texts(tiny, QUERY, TEXTS, (1, 0.3, 1))
    expected = compute_score(tiny, [(QUERY, text) for text in TEXTS], weights=(1, 0.3, 1))
    assert fused == pytest.approx(np.array(expected["colbert+sparse+dense"]), abs=1e-6)
    for channel in ("dense", "sparse", "colbert"):
        assert columns[channel] == pytest.approx(np.array(expected[channel]), abs=1e-6)


def test_stored_texts_are_rescored_without_encoding_them(index, tiny):
    tiny.encode([QUERY])
    before = tiny.encoded
    fused, _ = index.rescore(QUERY, TEXTS, ids=IDS)
    assert tiny.encoded == before
    assert fused == pytest.approx(score_texts(tiny, QUERY, TEXTS)[0], abs=5e-3)


def test_a_text_that_differs_from_the_stored_one_is_encoded(index, tiny):
    fused, _ = index.rescore(QUERY, ["new text"], ids=["fern"])
    assert fused == pytest.approx(score_texts(tiny, QUERY, ["new text"])[0], abs=1e-6)


def test_nothing_to_rescore(index, tiny):
    fused, columns = index.rescore(QUERY, [])
    assert len(fused) == 0
    assert {len(column) for column in columns.values()} == {0}


@pytest.mark.parametrize("weights", [{"bm25": 1}, (0, 0, 0), {"dense": 1, "bm25": 0.1}])
def test_weights_that_need_an_index(tiny, weights):
    with pytest.raises(InputError, match="one of them needs a weight above 0"):
        score_texts(tiny, QUERY, TEXTS, weights)


def test_an_empty_query(tiny):
    with pytest.raises(InputError, match="query is empty"):
        score_texts(tiny, " ", TEXTS)


def test_a_model_that_did_not_build_the_index(index, fresh, monkeypatch):
    monkeypatch.setattr(fresh, "fingerprint", "another")
    with pytest.raises(ModelMismatchError, match="The index was built by"):
        index.rescore(QUERY, TEXTS, model=fresh)


def test_ids_of_another_number_than_texts(index):
    with pytest.raises(InputError, match=r"There are 2 texts and 1 ids: pass one id, or None"):
        index.rescore(QUERY, ["one", "two"], ids=["fern"])
