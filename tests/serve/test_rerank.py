"""Cohere's routes, as its own clients and LangChain's call them."""

import json

import cohere
import pytest
from langchain_cohere import CohereRerank
from langchain_core.documents import Document

from m3rag import M3Index
from m3rag.service import ask, rerank
from tests.serve.conftest import serving

QUERY = "What waters the plants?"
JSON = {"Content-Type": "application/json"}
PASSAGES = ["Ferns like shade.", "The pump waters the plants.", "Un relais est un interrupteur."]


@pytest.fixture(scope="module")
def ranked(tiny):
    return rerank(tiny, QUERY, PASSAGES)


def same(results, ranked):
    assert [one.index for one in results] == [one.position for one in ranked]
    scores = [one.score for one in ranked]
    assert [one.relevance_score for one in results] == pytest.approx(scores, abs=1e-5)


def test_cohere_1(served, tiny, ranked):
    client = cohere.Client("none", base_url=served.url, httpx_client=served.client)
    same(client.rerank(query=QUERY, documents=PASSAGES, model="tiny").results, ranked)
    documents = [{"title": "t", "text": text} for text in PASSAGES]
    found = client.rerank(query=QUERY, documents=documents, return_documents=True, top_n=2)
    same(found.results, ranked[:2])
    assert found.results[0].document.text == ranked[0].text
    by_title = client.rerank(query=QUERY, documents=documents, rank_fields=["title", "text"])
    same(by_title.results, rerank(tiny, QUERY, [f"t\n{text}" for text in PASSAGES]))


def test_cohere_2(served, tiny, ranked):
    client = cohere.ClientV2("none", base_url=served.url, httpx_client=served.client)
    same(client.rerank(query=QUERY, documents=PASSAGES, model="tiny").results, ranked)
    cut = client.rerank(query=QUERY, documents=PASSAGES, model="tiny", max_tokens_per_doc=1)
    first = [
        text[: spans[0][1]]
        for text, spans in zip(PASSAGES, tiny.tokenizer.spans(PASSAGES), strict=True)
    ]
    same(cut.results, rerank(tiny, QUERY, first))
    with pytest.raises(cohere.NotFoundError, match=r"There is no model 'rerank-v3\.5'"):
        client.rerank(query=QUERY, documents=PASSAGES, model="rerank-v3.5")
    with pytest.raises(cohere.BadRequestError, match="no text"):
        client.rerank(query=QUERY, documents=[], model="tiny")


def test_langchain(served, ranked):
    client = cohere.ClientV2("none", base_url=served.url, httpx_client=served.client)
    compressor = CohereRerank(client=client, model="tiny", top_n=2)
    documents = [Document(text) for text in PASSAGES]
    found = compressor.compress_documents(documents, QUERY)
    assert [document.page_content for document in found] == [one.text for one in ranked[:2]]


def test_a_document_without_its_field(served):
    body = {"query": QUERY, "documents": [{"title": "x"}]}
    response = served.client.post("/v1/rerank", json=body)
    assert response.status_code == 400
    assert "documents[0] needs the field 'text'" in response.json()["error"]["message"]


def test_a_cross_encoder(tiny, cross_encoder):
    """It scores for the rerank routes, and for questions that ask for it."""
    index = M3Index.open(model=tiny)
    index.add(PASSAGES)
    expected = rerank(cross_encoder, QUERY, PASSAGES)
    asked = json.dumps(ask(index, QUERY, 2, cross_encoder=cross_encoder).to_dict())
    with serving({"kb": index}, cross_encoder=cross_encoder) as served:
        listed = served.client.get("/v1/models").json()["data"]
        assert [one["id"] for one in listed] == ["tiny", cross_encoder.name]
        client = cohere.ClientV2("none", base_url=served.url, httpx_client=served.client)
        given = {"query": QUERY, "documents": PASSAGES}
        same(client.rerank(**given, model=cross_encoder.name).results, expected)
        same(client.rerank(**given, model="tiny").results, rerank(tiny, QUERY, PASSAGES))
        weighted = served.client.post("/v1/rerank", json=given | {"weights": {"dense": 1}})
        assert "Leave `weights` out" in weighted.text
        body = {"query": QUERY, "texts": PASSAGES}
        found = served.client.post("/rerank", json=body).json()
        assert [one["index"] for one in found] == [one.position for one in expected]
        body["texts"] = ["pump " * 600]
        assert "the limit is 512 for both" in served.client.post("/rerank", json=body).text
        assert served.client.post("/rerank", json=body | {"truncate": True}).is_success
        body = {"question": QUERY, "k": 2, "rerank": True}
        assert served.client.post("/v1/kbs/kb/ask", json=body).json() == json.loads(asked)


def test_infinity(served, tiny, ranked):
    """What infinity's client sends and requires; it is not installed: it needs an old dateutil."""
    body = {"query": QUERY, "documents": PASSAGES, "model": "tiny"}
    body |= {"return_documents": False, "raw_scores": False}
    found = served.client.post("/v1/rerank", json=body).json()
    assert [one["index"] for one in found["results"]] == [one.position for one in ranked]
    tokens = sum(map(len, tiny.tokenizer.spans([QUERY, *PASSAGES])))
    assert found["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    body = {"input": [QUERY], "model": "tiny", "dimensions": 0, "modality": "text"}
    assert len(served.client.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]) > 0


def test_a_document_that_cannot_be_returned(served):
    for value in ('"\\ud800"', "[" * 500 + "]" * 500):
        body = f'{{"query": "x", "documents": [{{"text": "x", "other": {value}}}], '
        body += '"return_documents": true}'
        response = served.client.post("/v1/rerank", content=body, headers=JSON)
        assert response.status_code == 400
        assert "documents[0] cannot be returned" in response.json()["error"]["message"]
