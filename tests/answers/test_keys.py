"""API keys: which are sent, and that none appears in errors, answers and representations."""

import base64
import json
import logging
import traceback
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from m3rag.answers import OpenAIChat, answer
from m3rag.answers.redaction import Redactor
from m3rag.errors import AnswerError, InputError
from tests.answers.conftest import says

KEY = "sk-proj-aB3/dE5+gH7.jK9_mN1=pQ2"
QUESTION = "How often do I water ferns?"


def everything(error):
    """Return what can be printed of an error and all that it came from."""
    waiting, seen = [error], []
    while waiting:
        one = waiting.pop()
        if one is not None and one not in seen:
            seen.append(one)
            waiting += [one.__cause__, one.__context__]
    lines = [line for line in traceback.format_exception(error) if "Error" in line]
    return "\n".join((*(f"{one} {one!r} {one.args}" for one in seen), *lines))


def assert_hidden(text, key=KEY):
    for start in range(len(key) - 7):
        assert key[start : start + 8].lower() not in text.lower()


def raised(call):
    with pytest.raises((AnswerError, InputError)) as caught:
        call()
    return caught.value


# Which keys are sent


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (KEY + "\n", rf"character {len(KEY) + 1} of {len(KEY) + 1} is a line break \(LF\)"),
        (KEY + "\r", r"a line break \(CR\)"),
        (KEY + "\r\n", r"a line break \(CR\)"),
        (f" {KEY}", "character 1 of .* is white space"),
        (f"{KEY}\t", "is white space"),
        (f"{KEY}\x00", "is a control character"),
        (f"{KEY}\x7f", "is a control character"),
        (f"{KEY}\nX-Injected: yes", r"a line break \(LF\)"),
        (f"{KEY}é", "is not ASCII"),
        (f"{KEY}\u200b", "is not ASCII"),
        (f"{KEY}\udc80", "is not ASCII"),
        (KEY.encode(), "must be a string, got bytes"),
        (SecretStr(KEY), "must be a string, got SecretStr"),
        (KEY * 1_000, "has 31,000 characters; at most 8,192"),
    ],
)
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key, message):
    with pytest.raises(InputError, match=message) as caught:
        OpenAIChat("http://localhost/v1", "small", key)
    assert_hidden(everything(caught.value))


@pytest.mark.enable_socket
def test_the_key_of_the_environment_is_checked_too(m3rag, serve, tiny, tmp_path, monkeypatch):
    from m3rag import M3Index

    with M3Index.open(tmp_path / "kb", model=tiny) as index:
        index.add(["Ferns like shade."])
    monkeypatch.setenv("M3RAG_LLM_API_KEY", KEY + "\r")
    with serve(says("Yes [1].")) as (url, requests):
        llm = ["--llm-url", url, "--llm-model", "small"]
        code, out, err = m3rag("ask", QUESTION, "--in", tmp_path / "kb", *llm, "--json")
    assert code == 1
    assert requests == []
    assert "line break" in json.loads(out)["error"]
    assert_hidden(out + err)


# URLs


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{quote(KEY, '')}@localhost/v1",
        f"http://user:{KEY}@localhost/v1",
        f"http://{KEY}@localhost/v1",
        f"https://user:p#{KEY}@localhost/v1",
        f"https://user:p?{KEY}@localhost/v1",
        f"https://localhost/v1?user=me@example.org&key={KEY}",
        f"user:{KEY}@localhost:11434/v1",
        f"ftp://user:{KEY}@localhost/v1",
        f"http://localhost/v1?key={KEY}\n",
        KEY,
        f"http://localhost /v1?key={KEY}",
    ],
)
def test_a_url_with_a_password_or_white_space_is_refused_and_not_shown(url):
    error = raised(lambda: OpenAIChat(url, "small"))
    assert isinstance(error, InputError)
    assert_hidden(everything(error))


@pytest.mark.enable_socket
def test_the_query_of_a_url_is_sent_and_not_shown(serve):
    with serve({"error": f"wrong key {KEY}"}, 401) as (url, requests):
        llm = OpenAIChat(f"{url}/?api-version=1&key={quote(KEY, '')}", "small")
        error = raised(lambda: llm("Do.", "This?"))
    assert requests[0][0] == f"/v1/chat/completions?api-version=1&key={quote(KEY, '')}"
    assert f"{url}/chat/completions answered 401" in str(error)
    assert_hidden(everything(error) + repr(llm))
    assert_hidden(repr(OpenAIChat(f"http://localhost/v1?key={KEY}", "small", KEY)))
    assert url in repr(llm)


# Errors and answers of servers


@pytest.mark.enable_socket
@pytest.mark.parametrize("status", [200, 401, 500])
def test_a_server_that_echoes_the_key(serve, status, caplog):
    caplog.set_level(logging.DEBUG)
    echo = [KEY, f"Bearer {KEY}", quote(KEY, ""), json.dumps(KEY).replace("/", "\\/")]
    echo += [base64.b64encode(f"{before}{KEY}".encode()).decode() for before in ("", "a", ":b")]
    echo += [KEY[:9], KEY[-9:], KEY.upper(), KEY[4:14], KEY.encode().hex()]
    for each in echo:
        with serve(f"<p>{each}</p>".encode(), status) as (url, _):
            error = raised(lambda url=url: OpenAIChat(url, "small", KEY)("Do.", "This?"))
        assert each not in everything(error)
        assert_hidden(everything(error))
        assert "***" in str(error)
        assert error.__cause__ is error.__context__ is None
    assert_hidden(caplog.text)


@pytest.mark.enable_socket
def test_an_answer_that_contains_the_key(serve, index):
    with serve(says(f"The key is {KEY} [1]. “{KEY}” [1]")) as (url, _):
        llm = OpenAIChat(url, "small", KEY)
        found = answer(index, QUESTION, llm)
        assert llm("Do.", "This?").startswith("The key is *** [1].")
    assert found.text.startswith("The key is *** [1].")
    assert found.cited == (1,)
    assert_hidden(repr(found) + json.dumps(found.to_dict()))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("ollama", "Run Ollama with `ollama serve` [1]."),
        ("EMPTY", "The empty set [1]."),
        ("x", "x [1]"),
        ("sk-no-key-required", "A licence is required [1]."),
    ],
)
def test_placeholders_leave_answers_as_they_are(key, text):
    assert Redactor([key]).answer(text) == text


@given(st.text(alphabet=st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=8))
def test_any_key_is_hidden_whatever_is_around_it(key):
    hide = Redactor([key])
    for text in (key, f"a{key}b", f'{{"k": {json.dumps(key)}}}', quote(key, ""), f"{key[:8]}…"):
        assert key not in hide(text)
        assert key[:8] not in hide(text)


def test_other_texts_stay():
    text = "Unexpected token: the model 'small-7b' needs max_tokens=4096, see http://localhost/v1."
    assert Redactor([KEY])(text) == text


def test_what_looks_like_a_key_is_hidden_whoever_it_belongs_to():
    text = Redactor()(
        "POST http://me:pass@host/?key=abc12345 Authorization: Bearer abcd1234efgh"
        " api_key='s3cret12'"
    )
    assert not any(part in text for part in ("pass", "abc12345", "abcd1234", "s3cret12"))
