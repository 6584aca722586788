"""The routes of text-embeddings-inference, as LlamaIndex and huggingface_hub call them."""

import numpy as np
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import close_session
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

from m3rag import M3Index
from m3rag.service import rerank
from tests.conftest import TEXTS
from tests.serve.conftest import KEY, serving

QUERY = "What waters the plants?"
PASSAGES = ["Ferns like shade.", "The pump waters the plants.", "Un relais est un interrupteur."]


@pytest.fixture(scope="module")
def expected(tiny):
    return tiny.encode(TEXTS)


@pytest.fixture(scope="module")
def locked(tiny):
    """A server that needs a key."""
    with serving({"kb": M3Index.open(model=tiny)}, key=KEY) as served:
        yield served


def test_llama_index_embeddings(served, locked, expected):
    open_to_all = TextEmbeddingsInference("tiny", base_url=served.url, embed_batch_size=100)
    np.testing.assert_array_equal(open_to_all.get_text_embedding_batch(TEXTS), expected.dense)
    with_key = TextEmbeddingsInference("tiny", base_url=locked.url, auth_token=KEY)
    np.testing.assert_allclose(with_key.get_query_embedding(TEXTS[0]), expected.dense[0], atol=1e-6)


@pytest.mark.parametrize("token", [KEY, f"Bearer {KEY}", f"bearer  {KEY}"])
def test_llama_index_rerank(locked, tiny, token):
    """Its reranker sends the token as it is, so both forms are accepted."""
    nodes = [NodeWithScore(node=TextNode(text=text), score=0.0) for text in PASSAGES]
    reranker = TextEmbeddingInference(top_n=2, base_url=locked.url, auth_token=token)
    found = reranker.postprocess_nodes(nodes, query_str=QUERY)
    ranked = rerank(tiny, QUERY, PASSAGES)
    assert [node.text for node in found] == [one.text for one in ranked[:2]]
    np.testing.assert_allclose(
        [node.score for node in found], [one.score for one in ranked[:2]], atol=1e-5
    )


def test_huggingface_hub(served, expected):
    client = InferenceClient(base_url=served.url)
    np.testing.assert_array_equal(client.feature_extraction(TEXTS[0]), expected.dense[:1])
    found = client.feature_extraction(TEXTS, normalize=True, truncate=True)
    np.testing.assert_allclose(found, expected.dense, atol=1e-6)
    with pytest.raises(HfHubHTTPError, match="must be 256"):
        client.feature_extraction(TEXTS[0], dimensions=8)
    close_session()


def test_sparse_and_multi_vectors(served, expected):
    sparse = served.client.post("/embed_sparse", json={"inputs": TEXTS}).json()
    multi = served.client.post("/embed_all", json={"inputs": TEXTS}).json()
    for i, (weights, vectors) in enumerate(zip(sparse, multi, strict=True)):
        assert {w["index"]: pytest.approx(w["value"]) for w in weights} == expected.sparse[i]
        np.testing.assert_allclose(vectors, expected.colbert[i], atol=1e-6)


def test_info_and_errors(served, tiny):
    info = served.client.get("/info").json()
    assert (info["model_id"], info["model_sha"]) == ("tiny", tiny.fingerprint)
    assert (info["max_input_length"], info["dimensions"]) == (8192, 256)
    cases = [
        ("/embed", {"inputs": []}, 400, "Validation", "no text"),
        ("/embed", {"inputs": [1, 2]}, 400, "Validation", "token ids"),
        ("/embed", {"inputs": "x", "normalize": False}, 422, "Validation", "normalize"),
        ("/embed", {"inputs": "x", "prompt_name": "query"}, 422, "Validation", "prompt_name"),
        ("/embed_all", {"inputs": ["x"] * 2049}, 413, "Validation", "2,049 texts"),
        ("/rerank", {"query": " ", "texts": ["x"]}, 400, "Validation", "empty"),
        ("/rerank", {"query": "x", "texts": ["y"], "weights": "no"}, 400, "Validation", "no"),
    ]
    for path, body, status, kind, message in cases:
        response = served.client.post(path, json=body)
        assert response.status_code == status
        assert response.json()["error_type"] == kind
        assert message in response.json()["error"]
