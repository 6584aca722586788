"""Language models of other libraries: made from a name, and asked in one way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

from m3rag.errors import AnswerError, InputError

Write = Callable[[str, str], str]
"""What to do and what to answer, to what a language model says."""

_SETTING = re.compile(r",(?=[A-Za-z_]\w*=)")  # a value may have commas
_KINDS = "a LangChain model, a LlamaIndex LLM, or a function of (instructions, request)"


def load_llm(spec: str) -> object:
    """Make a language model from `module:Class[,key=value…]`.

    Args:
        spec: a class, or a function that makes a model; values are JSON where they can be, and
            text otherwise.

    Raises:
        InputError: the text has another form, or no such module or class is there.
        AnswerError: making it failed.
    """
    target, *pairs = _SETTING.split(spec)
    module, _, name = target.partition(":")
    if not (module and name) or "=" in target:
        raise InputError(
            f"The language model {target!r} must be module:Class[,key=value…], such as "
            "langchain_ollama:ChatOllama,model=llama3.2."
        )
    settings = {key: _value(text) for key, _, text in (pair.partition("=") for pair in pairs)}
    make = _named(module, name)
    try:
        return make(**settings)
    except Exception as error:  # code of others: it may raise anything
        raise AnswerError(f"{target} cannot be made: {type(error).__name__}: {error}") from error


def writer(llm: object) -> Write:
    """A language model of any kind, as a function of instructions and request.

    Raises:
        InputError: it is none.
    """
    homes = [base.__module__ for base in type(llm).__mro__]
    if any(home.startswith("langchain_core.") for home in homes) and hasattr(llm, "invoke"):
        return lambda instructions, request: _langchain(llm, instructions, request)
    if any(home.startswith("llama_index.core.") for home in homes) and hasattr(llm, "chat"):
        return lambda instructions, request: _llama_index(llm, instructions, request)
    if callable(llm) and not isinstance(llm, type):
        return cast(Write, llm)
    raise InputError(f"{llm!r} is no language model: it must be {_KINDS}.")


def _langchain(llm: Any, instructions: str, request: str) -> str:
    """A chat model gives a message, a plain LLM a string."""
    reply = llm.invoke([("system", instructions), ("human", request)])
    return str(getattr(reply, "text", reply))


def _llama_index(llm: Any, instructions: str, request: str) -> str:
    from llama_index.core.llms import ChatMessage

    messages = [
        ChatMessage(role="system", content=instructions),
        ChatMessage(role="user", content=request),
    ]
    return llm.chat(messages).message.content or ""


def _named(module: str, name: str) -> Callable[..., object]:
    try:
        home = import_module(module)
    except ModuleNotFoundError as error:
        missing = str(error.name)
        raise InputError(
            f"The module {missing!r} of {module}:{name} is not installed. Install its package, "
            f"often called {missing.replace('_', '-').replace('.', '-')}, or check the name."
        ) from None
    except Exception as error:  # code of others: importing it may raise anything
        raise InputError(
            f"The module {module!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    found = getattr(home, name, None)
    if not callable(found):
        raise InputError(f"The module {module!r} has no class or function {name!r}.")
    return cast(Callable[..., object], found)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
