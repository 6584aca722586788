"""Answers that a real local server sends in pieces."""

import json

import pytest

from m3rag import service
from m3rag.answers import Answer, OpenAIChat
from m3rag.errors import AnswerError
from m3rag.limits import Limits
from tests.answers.conftest import says

pytestmark = pytest.mark.enable_socket

EVENTS = [("Content-Type", "text/event-stream; charset=utf-8")]
QUESTION = "How often do I water ferns?"


def event(text, reason=None):
    values = {"choices": [{"delta": {"content": text}, "finish_reason": reason}]}
    return f"data: {json.dumps(values)}\n\n".encode()


def streamed(serve, body, *, headers=EVENTS, key=None, **settings):
    with serve(body, headers=headers) as (url, requests):
        pieces = list(OpenAIChat(url, "small", key, **settings).stream("Do.", "This?"))
    return pieces, requests


def test_an_answer_arrives_in_pieces_and_then_checked(index, serve):
    body = b": a comment\n\n" + event("Two ") + event("times [1]") + event(" [9].", "stop")
    with serve(body + b"data: [DONE]\n\n", headers=EVENTS) as (url, requests):
        found = service.ask(index, QUESTION, 2)
        *pieces, answer = found.stream(OpenAIChat(url, "small"))
    assert pieces == ["Two ", "times [1]", " [9]."]
    assert isinstance(answer, Answer)
    assert (answer.text, answer.cited, answer.removed) == ("Two times [1].", (1,), (9,))
    assert answer == found.write(lambda *_: "Two times [1] [9].")
    assert requests[0][2]["stream"] is True
    assert next(found.stream(lambda *_: "Yes [1].")) == "Yes [1]."


@pytest.mark.parametrize("size", [1, 5, 40])
def test_a_key_is_hidden_wherever_the_pieces_end(serve, size):
    key = "s3cret-key-0123456789"
    text = f"Here {key} it is, and again: {key}"
    body = b"".join(event(text[i : i + size]) for i in range(0, len(text), size))
    pieces, _ = streamed(serve, body + event("", "stop"), key=key)
    assert "".join(pieces) == "Here *** it is, and again: ***"


def test_a_server_that_does_not_stream_gives_one_piece(serve):
    assert streamed(serve, says("Yes [1]."), headers=())[0] == ["Yes [1]."]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (event("Half an ans"), "ended its answer in the middle"),
        (b'data: {"error": {"message": "overloaded"}}\n\n', "reported an error.*overloaded"),
        (b"data: <html>\n\n", "did not send a part of a chat completion"),
        (b"data: [[]]\n\n", "did not send a part of a chat completion"),
        (event("many words", "stop"), "more than 5 characters"),
        (b"data: " + b"x" * 3_000_000, "line of more than 1,048,576 bytes"),
    ],
)
def test_streams_that_break_off(serve, body, message):
    with pytest.raises(AnswerError, match=message):
        streamed(serve, body, limits=Limits(answer_characters=5 if b"many" in body else 100))


@pytest.mark.parametrize(
    ("body", "status", "headers", "message"),
    [
        (event(" ", "stop"), 200, EVENTS, "returned no text"),
        ({"error": "who?"}, 401, (), "answered 401"),
    ],
)
def test_an_empty_answer_and_an_error_status(index, serve, body, status, headers, message):
    found = service.ask(index, QUESTION, 1)
    with (
        serve(body, status, headers=headers) as (url, _),
        pytest.raises(AnswerError, match=message),
    ):
        list(found.stream(OpenAIChat(url, "small")))
