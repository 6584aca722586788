"""Questions over HTTP: extractive answers, and answers of a language model, whole and streamed."""

import json
import threading
import time

import pytest

from m3rag import M3Index, Passage, service
from m3rag.answers import OpenAIChat
from tests.answers.conftest import says
from tests.answers.conftest import serve as serve  # a local chat server
from tests.answers.test_streaming import EVENTS, event
from tests.serve.conftest import serving

JSON = {"Content-Type": "application/json"}
QUESTION = "How often do I water ferns?"
PASSAGES = [
    Passage("fern#0", "Ferns like shade.", {"lang": "en"}, "fern.md", 0, 17),
    Passage("fern#1", "Water them twice a week.", {"lang": "en"}, "fern.md", 18, 42),
    Passage("es", "Los helechos prefieren la sombra.", {"lang": "es"}),
]


@pytest.fixture(scope="module")
def index(tiny):
    index = M3Index.open(model=tiny)
    index.add(PASSAGES)
    return index


def events(answer):
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in answer.text.split("\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    return [json.loads(line[6:]) for line in lines]


def as_json(result):
    """Return a result as it is after its way over HTTP, with lists in place of tuples."""
    return json.loads(json.dumps(result.to_dict()))


@pytest.fixture(scope="module")
def plain(index):
    """A server without a language model."""
    with serving({"kb": index}) as served:
        yield served.client


def ask(client, status=200, **body):
    answer = client.post("/v1/kbs/kb/ask", json={"question": QUESTION, **body})
    assert answer.status_code == status, answer.text
    return answer


def test_an_answer_is_that_of_the_library(plain, index):
    assert ask(plain).json() == as_json(service.ask(index, QUESTION))
    options = {"k": 1, "neighbours": 1, "filter": {"lang": "en"}, "weights": "cross-lingual"}
    found = ask(plain, **options, explain=True).json()
    why = found["hits"][0].pop("explanation")
    [hit] = index.search(QUESTION, 1, filter={"lang": "en"}, weights="cross-lingual")
    assert why == as_json(hit.explain())
    assert "Water them twice a week." in found["hits"][0]["passage"]["text"]
    [first, last] = events(ask(plain, stream=True))
    expected = as_json(service.ask(index, QUESTION))
    assert first == {"type": "hits", **expected}
    assert last == {"type": "answer", **expected}


def test_nothing_that_answers(plain, index):
    found = ask(plain, min_score=2.0).json()
    assert (found["refused"], found["answer"], found["min_score"]) == (True, None, 2.0)
    assert ask(plain, filter={"lang": "xx"}).json()["hits"] == []
    for body, reason in (
        ({"question": " "}, "empty"),
        ({"llm": True}, "has no language model"),
        ({"rerank": True}, "has no cross-encoder"),
        ({"k": 0}, "k:"),
        ({"unknown": 1}, "unknown"),
        ({"weights": {"dense": 0}}, "weight"),
    ):
        answer = plain.post("/v1/kbs/kb/ask", json={"question": QUESTION, **body})
        assert answer.status_code in (400, 422)
        assert reason in answer.json()["error"]["message"]
    for stream in (b"true", b"false"):
        content = b'{"question": "x", "min_score": NaN, "stream": %b}' % stream
        answer = plain.post("/v1/kbs/kb/ask", content=content, headers=JSON)
        assert answer.status_code == 400
        assert "`min_score` must be a finite number" in answer.text


def test_a_language_model_writes(index, serve):
    stream = event("Twice ") + event("a week [1]") + event(" [7].", "stop") + b"data: [DONE]\n\n"
    found = service.ask(index, QUESTION)
    written = as_json(found) | as_json(found.write(lambda *_: "Twice a week [1] [7]."))
    with (
        serve(says("Twice a week [1] [7].")) as (url, requests),
        serving({"kb": index_again(index)}, llm=OpenAIChat(url, "small")) as served,
    ):
        assert ask(served.client).json() == written
        assert "text" not in ask(served.client, llm=False).json()
        assert "text" not in ask(served.client, min_score=2.0).json()
    assert len(requests) == 1
    with (
        serve(stream, headers=EVENTS) as (url, _),
        serving({"kb": index_again(index)}, llm=OpenAIChat(url, "small")) as served,
    ):
        first, *tokens, last = events(ask(served.client, stream=True))
    assert first["type"] == "hits"
    assert [token["text"] for token in tokens] == ["Twice ", "a week [1]", " [7]."]
    assert last == {"type": "answer", **written}


def index_again(index):
    """Return an index with the same passages; a server closes its own."""
    again = M3Index.open(model=index.model)
    again.add(PASSAGES)
    return again


def test_a_language_model_that_fails(index, serve):
    with (
        serve({"error": "no"}, 500) as (url, _),
        serving({"kb": index_again(index)}, llm=OpenAIChat(url, "small")) as served,
    ):
        answer = ask(served.client, 502)
        assert answer.json()["error"]["code"] == "AnswerError"
        [first, last] = events(ask(served.client, stream=True))
        assert first["hits"]
        assert last["type"] == "error"
        assert "answered 500" in last["error"]["message"]


def test_a_client_that_goes_away_frees_the_writer(index, monkeypatch):
    """The thread of an answer that nobody reads ends with its next piece."""
    closed, pieces = threading.Event(), iter(range(10_000))

    class Endless(OpenAIChat):
        def stream(self, instructions, request):
            try:
                for number in pieces:
                    time.sleep(0.005)
                    yield f"{number} "
            finally:
                closed.set()

    llm = Endless("http://127.0.0.1:1/v1", "small")
    with serving({"kb": index_again(index)}, llm=llm) as served:
        body = {"question": QUESTION, "stream": True}
        with served.client.stream("POST", "/v1/kbs/kb/ask", json=body) as answer:
            lines = answer.iter_lines()
            assert json.loads(next(lines)[6:])["type"] == "hits"
            next(lines)
            assert json.loads(next(lines)[6:])["type"] == "token"
        assert closed.wait(20)
        assert served.client.get("/health").status_code == 200
