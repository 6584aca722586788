"""OpenAI's routes, as its own client and those of LangChain and LlamaIndex call them."""

import asyncio

import numpy as np
import openai
import pytest
import tiktoken
from langchain_openai import OpenAIEmbeddings
from llama_index.embeddings.openai_like import OpenAILikeEmbedding

from m3rag import M3Model
from tests.conftest import TEXTS
from tests.serve.conftest import serving

TEXT = "How do I water the plants?"


@pytest.fixture(scope="module")
def dense(tiny):
    """The vectors of all texts, from the library."""
    return tiny.encode(TEXTS, sparse=False, colbert=False).dense


@pytest.fixture
def client(served):
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def byte_vocabulary(monkeypatch):
    """A vocabulary of bytes in the place of OpenAI's, which tiktoken would download."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    pattern = r"[\s\S]"
    encoding = tiktoken.Encoding("bytes", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    monkeypatch.setitem(tiktoken.registry.ENCODINGS, "cl100k_base", encoding)


def test_openai(client, dense, tiny):
    """Its default is base64; both forms are the numbers of the library, bit for bit."""
    response = client.embeddings.create(input=TEXTS, model="tiny")
    np.testing.assert_array_equal([d.embedding for d in response.data], dense)
    floats = client.embeddings.create(input=TEXTS, model="tiny", encoding_format="float")
    np.testing.assert_array_equal([d.embedding for d in floats.data], dense)
    assert [d.index for d in response.data] == list(range(len(TEXTS)))
    assert response.usage.total_tokens == int(tiny.encode(TEXTS).n_tokens.sum())
    one = client.embeddings.create(input=TEXTS[0], model="tiny", dimensions=256, user="ann")
    np.testing.assert_array_equal(one.data[0].embedding, dense[0])
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").id == "tiny"


def test_openai_async(served, dense):
    """Texts of many clients at the same time are not mixed up."""

    async def run():
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none") as client:
            calls = [client.embeddings.create(input=text, model="tiny") for text in TEXTS * 3]
            return [r.data[0].embedding for r in await asyncio.gather(*calls)]

    np.testing.assert_allclose(asyncio.run(run()), np.tile(dense, (3, 1)), atol=1e-6)


def test_what_openai_gets_as_an_error(client, served):
    """Each error has OpenAI's form and says what to do."""
    cases = [
        ({"input": TEXT, "model": "gpt"}, openai.NotFoundError, "'gpt'.*'tiny'", "model_not_found"),
        ({"input": [], "model": "tiny"}, openai.BadRequestError, "no text", "InputError"),
        ({"input": [[1, 2]], "model": "tiny"}, openai.BadRequestError, "token ids", "InputError"),
        (
            {"input": TEXT, "model": "tiny", "dimensions": 128},
            openai.BadRequestError,
            "must be 256",
            "InputError",
        ),
        (
            {"input": ["x", "plant " * 9000], "model": "tiny"},
            openai.BadRequestError,
            "Text 1 has 54,000 characters and at least 18,004 tokens, and the limit is 8,192",
            "InputError",
        ),
        (
            {"input": TEXT, "model": "tiny", "extra_body": {"inputs": ""}},
            openai.UnprocessableEntityError,
            "inputs: Extra inputs are not permitted",
            None,
        ),
        ({"input": TEXT, "model": 7}, openai.UnprocessableEntityError, "model: ", None),
    ]
    for arguments, kind, message, code in cases:
        with pytest.raises(kind, match=message) as caught:
            client.embeddings.create(**arguments)
        assert caught.value.code == code
        assert caught.value.type
    broken = served.client.post(
        "/v1/embeddings", content=b'{"input": "x', headers={"content-type": "application/json"}
    )
    assert broken.status_code == 400
    assert "not valid JSON" in broken.json()["error"]["message"]


def test_a_long_text_is_truncated_if_that_is_allowed():
    """It is refused also if it was encoded before, for another request."""
    with (
        M3Model.load("tiny", dtype="float32", max_length=8) as model,
        serving({}, {"tiny": model}) as served,
    ):
        body = {"input": "The pump waters the plants.", "truncate": True}
        found = served.client.post("/v1/embeddings", json=body).json()
        assert found["usage"]["prompt_tokens"] == 8
        encoded = model.encoded
        assert served.client.post("/v1/embeddings", json=body | {"truncate": False}).is_error
        body["input"] += " And more."
        assert served.client.post("/v1/embeddings", json=body | {"truncate": False}).is_error
        assert model.encoded == encoded  # nothing is encoded to be refused


def test_langchain(served, dense, byte_vocabulary):
    """It sends token ids by default, which the server refuses with the remedy."""
    settings = {"model": "tiny", "base_url": f"{served.url}/v1", "api_key": "none"}
    settings["http_client"] = served.client
    embeddings = OpenAIEmbeddings(check_embedding_ctx_length=False, **settings)
    np.testing.assert_array_equal(embeddings.embed_documents(TEXTS), dense)
    np.testing.assert_array_equal(embeddings.embed_query(TEXTS[0]), dense[0])
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        OpenAIEmbeddings(**settings).embed_query(TEXT)


def test_llama_index(served, dense):
    url = f"{served.url}/v1"
    embedding = OpenAILikeEmbedding(
        "tiny", api_base=url, embed_batch_size=100, http_client=served.client
    )
    texts = [text for text in TEXTS if text]  # it sends a space for ""
    expected = dense[[i for i, text in enumerate(TEXTS) if text]]
    np.testing.assert_allclose(embedding.get_text_embedding_batch(texts), expected, atol=1e-6)
    np.testing.assert_array_equal(embedding.get_query_embedding(TEXTS[0]), dense[0])
