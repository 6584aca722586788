"""ColBERT vectors that are appended text by text."""

import tracemalloc

import numpy as np
import pytest

from m3rag import M3Model
from m3rag.encoding import GrowingMultiVectors, MultiVectors
from m3rag.errors import InputError


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("texts", [1, 2, 500])
def test_appending_one_by_one_equals_stacking_at_once(texts, dtype):
    rng = np.random.default_rng(texts)
    rows = [rng.normal(size=(rng.integers(1, 40), 8)).astype(dtype) for _ in range(texts)]
    growing = GrowingMultiVectors()
    for matrix in rows:
        growing.append(matrix)
    actual, expected = growing.complete(), MultiVectors.from_rows(rows)
    np.testing.assert_array_equal(actual.offsets, expected.offsets)
    np.testing.assert_array_equal(actual.vectors, expected.vectors)
    assert actual.vectors.dtype == dtype
    assert actual.vectors.flags.owndata
    assert actual.vectors.flags.c_contiguous


def test_appended_vectors_are_copied():
    growing, first = GrowingMultiVectors(), np.ones((2, 4), np.float32)
    growing.append(first)
    first[:] = 7
    assert growing.complete().vectors.max() == 1


def test_nothing_appended_is_an_error():
    with pytest.raises(InputError, match="No ColBERT vectors were appended"):
        GrowingMultiVectors().complete()


def test_encoding_many_texts_never_holds_their_vectors_twice():
    texts = [f"{i} soil moisture sensor " * 12 for i in range(800)]
    with M3Model.load("tiny", dtype="float32", memo_bytes=0) as model:
        model.encode(texts[:2])
        tracemalloc.start()
        vectors = model.encode(texts).colbert.vectors
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert vectors.nbytes > 10_000_000
    assert peak < 1.5 * vectors.nbytes


def test_colbert_vectors_of_long_requests_displace_nothing_in_the_memo():
    texts = [f"passage {i}" for i in range(1100)]
    with M3Model.load("tiny", dtype="float32", memo_bytes=4_000_000) as model:
        model.encode(["a question"])
        assert model.encode(texts).colbert.vectors.nbytes > 4_000_000
        passes = model.passes
        model.encode(["a question"])
        model.encode(texts, colbert=False)
        assert model.passes == passes
        model.encode(texts[:1])
        assert model.passes == passes + 1
