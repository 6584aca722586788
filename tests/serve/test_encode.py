"""All views of a text from one pass."""

import base64

import numpy as np

from m3rag import M3Index
from tests.conftest import TEXTS
from tests.serve.conftest import serving


def numbers(text, width):
    return np.frombuffer(base64.b64decode(text), "<f2").reshape(-1, width)


def test_three_views_of_one_pass(tiny, fresh):
    with serving({"kb": M3Index.open(model=fresh)}) as served:
        found = served.client.post("/encode", json={"input": TEXTS}).json()
        assert fresh.passes == 1
        floats = served.client.post("/encode", json={"input": TEXTS[0], "encoding_format": "float"})
    expected = tiny.encode(TEXTS)
    assert (found["model"], found["dim"], found["colbert_dim"]) == ("tiny", 256, 256)
    assert found["usage"]["total_tokens"] == int(expected.n_tokens.sum())
    for one, text in zip(found["data"], expected, strict=True):
        assert one["tokens"] == text.n_tokens[0]
        dense = numbers(one["dense"], 256)[0]
        np.testing.assert_allclose(dense, text.dense[0], atol=1e-3)
        np.testing.assert_allclose(numbers(one["colbert"], 256), text.colbert[0], atol=1e-3)
        weights = {int(token): weight for token, weight in one["sparse"].items()}
        assert weights.keys() == text.sparse[0].keys()
    [one] = floats.json()["data"]
    np.testing.assert_allclose(one["colbert"], expected.colbert[0], atol=1e-6)


def test_some_views(served):
    body = {"input": ["x"], "dense": False, "colbert": False}
    [one] = served.client.post("/encode", json=body).json()["data"]
    assert set(one) == {"index", "tokens", "truncated", "sparse"}
    body |= {"sparse": False}
    refused = served.client.post("/encode", json=body)
    assert refused.status_code == 400
    assert "Nothing to encode" in refused.json()["error"]["message"]
