"""Keys of LangChain, LlamaIndex and other language models, which no error shows."""

import functools

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from llama_index.core.llms import MockLLM
from pydantic import PrivateAttr, SecretStr

from m3rag.answers import answer, load_llm
from m3rag.answers.keys import redactor_of
from tests.answers.test_keys import KEY, QUESTION, assert_hidden, everything, raised


class Failing(FakeListChatModel):
    openai_api_key: SecretStr

    def _call(self, *_, **__):
        try:
            raise KeyError(f"Bearer {self.openai_api_key.get_secret_value()}")
        except KeyError as error:
            raise ValueError(f"401 {self.openai_api_key.get_secret_value()[:12]}") from error


class FailingLlama(MockLLM):
    _api_key: str = PrivateAttr(KEY)

    def chat(self, *_, **__):
        raise RuntimeError({"headers": {"Authorization": self._api_key}})


class Holder:
    __slots__ = ("client",)

    def __init__(self, key):
        self.client = {"default_headers": {"Authorization": f"Bearer {key}"}}

    def __call__(self, *_):
        raise RuntimeError(self.client["default_headers"]["Authorization"][7:])

    def ask(self, *_):
        self()


def calls(instructions, request, api_key):
    raise RuntimeError(f"no such key {api_key}")


def closure(api_key):
    return lambda *_: calls("", "", api_key)


@pytest.mark.parametrize(
    "llm",
    [
        Failing(openai_api_key=SecretStr(KEY), responses=[]),
        FailingLlama(),
        Holder(KEY),
        Holder(KEY).ask,
        functools.partial(calls, api_key=KEY),
        closure(KEY),
    ],
    ids=["langchain", "llama-index", "slots", "method", "partial", "closure"],
)
def test_errors_of_other_libraries_show_no_key(index, llm):
    error = raised(lambda: answer(index, QUESTION, llm))
    assert " failed: " in str(error)
    assert "***" in str(error)
    assert_hidden(everything(error))


def test_errors_without_a_key_keep_their_cause(index):
    def fails(*_):
        raise KeyError("no such deployment")

    error = raised(lambda: answer(index, QUESTION, fails))
    assert isinstance(error.__cause__, KeyError)


def test_an_answer_of_another_library_that_contains_its_key(index):
    llm = Failing(openai_api_key=SecretStr(KEY), responses=[])
    assert redactor_of(llm).answer(f"It is {KEY}.") == "It is ***."


def test_errors_are_short(index):
    def fails(*_):
        raise KeyError("x" * 5_000_000)

    assert len(str(raised(lambda: answer(index, QUESTION, fails)))) < 1_000
    assert len(str(raised(lambda: answer(index, QUESTION, lambda *_: b"x" * 5_000_000)))) < 1_000


OWN = """
class Chat:
    def __init__(self, api_key=None, temperature=0):
        self._hidden = lambda: api_key
        if temperature:
            raise ValueError(f"temperature {temperature} with {api_key}")
    def __call__(self, instructions, request):
        raise RuntimeError(f"cannot log in with {self._hidden()}")

def make(api_key):
    def ask(instructions, request):
        raise RuntimeError(f"cannot log in with {ask.held}")
    ask.held = api_key
    return ask

def echo(api_key):
    return lambda *_: f"Twice [1]. {api_key}"

def kind(api_key):
    return lambda *_: type(api_key).__name__
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_chat.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("name", ["Chat", "make"])
def test_the_key_of_a_name_is_hidden(index, name):
    llm = load_llm(f"own_chat:{name},api_key={KEY}")
    error = raised(lambda: answer(index, QUESTION, llm))
    assert "cannot log in with ***" in str(error)
    assert_hidden(everything(error))


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    "spec",
    [
        f"own_chat:Chat,temperature=1,api_key={KEY}",
        f"own_chat:Chat,api_key={KEY}\r",
        f"own_chat:Chat,api-key={KEY}",
        f"own_chat:Chat;api_key={KEY}",
        f"own_chat:Chat api_key={KEY}",
        f"own_chat:Chat,{KEY}",
        f"own_chat:Missing,api_key={KEY}",
        f"missing_chat:Chat,api_key={KEY}",
        f"api_key={KEY},own_chat:Chat",
        f"own_chat,api_key={KEY}",
        KEY,
        f"llama_index.core.llms:MockLLM,max_tokens=many,api_key={KEY}",
        f"langchain_core.language_models:FakeListChatModel,responses=7,api_key={KEY}",
    ],
)
def test_names_that_create_no_model_show_no_key(spec):
    assert_hidden(everything(raised(lambda: load_llm(spec))))


@pytest.mark.usefixtures("own")
def test_the_value_of_a_key_is_text(index):
    assert answer(index, QUESTION, load_llm("own_chat:kind,api_key=12345678")).text == "str"
    assert answer(index, QUESTION, load_llm('own_chat:kind,api_key="a"')).text == "str"
    assert answer(index, QUESTION, load_llm("own_chat:kind,api_key=null")).text == "NoneType"
    assert (
        answer(index, QUESTION, load_llm(f"own_chat:echo,api_key={KEY}")).text == "Twice [1]. ***"
    )


def test_settings_that_no_parser_survives():
    assert "cannot be created" in str(raised(lambda: load_llm(f"json:loads,s={'[' * 100_000}")))


def test_what_is_no_language_model_is_not_shown():
    error = raised(lambda: answer(None, QUESTION, {"api_key": KEY}))
    assert "A dict is not a language model" in str(error)
    assert_hidden(str(error))
