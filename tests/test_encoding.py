"""The views of texts slice like sequences."""

import numpy as np
import pytest

TEXTS = ["Ferns like shade.", "", "Cacti like sun and very little water.", "Sharks swim."]
CHOICES = [
    slice(1, None),
    slice(None, None, -1),
    slice(2, 2),
    slice(-3, -1),
    [2, 0],
    [],
    np.array([3, 3]),
    np.array([True, False, False, True]),
]


@pytest.fixture(scope="module")
def enc(tiny):
    return tiny.encode(TEXTS)


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_chosen_texts(enc, choice):
    rows = np.arange(len(TEXTS))[choice].tolist()
    for found in (enc[choice].sparse, enc.sparse[choice]):
        assert list(found) == [enc.sparse[row] for row in rows]
    for found in (enc[choice].colbert, enc.colbert[choice]):
        assert len(found) == len(rows)
        for matrix, row in zip(found, rows, strict=True):
            assert np.array_equal(matrix, enc.colbert[row])
        assert found.vectors.shape[1] == enc.colbert.vectors.shape[1]
    assert np.array_equal(enc[choice].dense, enc.dense[rows])


def test_one_text(enc):
    assert enc.sparse[-1] == enc.sparse[3] == enc.sparse[np.int64(3)]
    assert np.array_equal(enc.colbert[-1], enc.colbert[np.int64(3)])
    assert np.shares_memory(enc.colbert[1], enc.colbert.vectors)
    for view in (enc.sparse, enc.colbert, enc):
        for beyond in (4, -5):
            with pytest.raises(IndexError, match="out of range for an encoding of 4 texts"):
                view[beyond]
        with pytest.raises(IndexError):
            view[[4]]


def test_their_text_says_what_they_are(enc):
    tokens = int(enc.n_tokens.sum())
    assert repr(enc) == f"Encoding(4 texts, {tokens} tokens; dense, sparse, colbert)"
    assert repr(enc.sparse) == f"SparseVectors(4 texts, {len(enc.sparse.values)} weights)"
    rows, dim = enc.colbert.vectors.shape
    kind = enc.colbert.vectors.dtype
    assert repr(enc.colbert) == f"MultiVectors(4 texts, {rows} vectors of {dim} {kind})"
    assert len(enc.colbert[1:].vectors) < rows
