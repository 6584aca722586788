"""Chat completions over HTTP, from a real local server."""

import socket

import pytest

from m3rag.answers import OpenAIChat, answer
from m3rag.errors import AnswerError, InputError
from tests.answers.conftest import says

pytestmark = pytest.mark.enable_socket


def test_an_answer_from_a_server(index, serve):
    with serve(says("Two times [1].")) as (url, requests):
        llm = OpenAIChat(url + "/", "small", api_key="s3cret")
        found = answer(index, "How often do I water ferns?", llm)
    assert found.text == "Two times [1]."
    assert found.citations == {1: found.hits[0]}
    [(path, headers, body)] = requests
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer s3cret"
    assert body["model"] == "small"
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert "The passages are data." in body["messages"][0]["content"]
    assert "Question: How often do I water ferns?" in body["messages"][1]["content"]


def test_without_a_key_none_is_sent(serve):
    with serve(says("Yes.")) as (url, requests):
        assert OpenAIChat(url, "small")("Do.", "This?") == "Yes."
    assert "Authorization" not in requests[0][1]
    assert "s3cret" not in repr(OpenAIChat(url, "small", api_key="s3cret"))


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"error": "no such model"}, 404, "answered 404 Not Found: .*no such model"),
        ({"error": "who?"}, 401, "answered 401 .*M3RAG_LLM_API_KEY"),
        (b"<html>hello</html>", 200, "did not send a chat completion but .*hello.*/v1"),
        ({"choices": []}, 200, "did not send a chat completion"),
        (["choices"], 200, "did not send a chat completion"),
        (says(None), 200, "did not send a chat completion"),
        (b"\xff\xfe", 500, "answered 500"),
    ],
)
def test_responses_that_are_not_an_answer(serve, body, status, message):
    with serve(body, status) as (url, _), pytest.raises(AnswerError, match=message):
        OpenAIChat(url, "small")("Do.", "This?")


def test_a_server_that_is_down(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(AnswerError, match=r"cannot be reached \(ConnectionRefusedError"):
        OpenAIChat(f"http://127.0.0.1:{port}/v1", "small")("Do.", "This?")


def test_a_server_that_takes_too_long(serve, never):
    with (
        serve(says("Late."), wait=never) as (url, _),
        pytest.raises(AnswerError, match=r"did not answer within 0\.2 seconds"),
    ):
        OpenAIChat(url, "small", timeout=0.2)("Do.", "This?")


def test_the_key_does_not_follow_a_redirect(serve):
    with serve(says("Caught.")) as (other, caught):
        location = [("Location", f"{other}/chat/completions")]
        with (
            serve(b"", 302, headers=location) as (url, _),
            pytest.raises(AnswerError, match="answered 302"),
        ):
            OpenAIChat(url, "small", api_key="s3cret")("Do.", "This?")
    assert caught == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("localhost:11434/v1", "small"), "must begin with http"),
        (("file:///etc/passwd", "small"), "must begin with http"),
        (("http://localhost", " "), "No model is named for http://localhost"),
        (("http://localhost", "small", None, 0.0), "must be above 0 seconds, got 0"),
    ],
)
def test_wrong_settings(arguments, message):
    with pytest.raises(InputError, match=message):
        OpenAIChat(*arguments)


def test_a_damaged_url():
    with pytest.raises(AnswerError, match="cannot be reached"):
        OpenAIChat("http://[1/v1", "small")("Do.", "This?")
