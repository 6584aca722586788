"""Language models of other libraries, created from a name and called in one way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

from m3rag.errors import AnswerError, InputError

Write = Callable[[str, str], str]
"""A function from instructions and a request to the text of a language model."""

_SETTING = re.compile(r",(?=[A-Za-z_]\w*=)")  # a value may contain commas


def load_llm(spec: str) -> object:
    """Create a language model from `module:Class[,key=value…]`.

    Args:
        spec: A class, or a function that returns a model, and its arguments. Values are parsed as
            JSON if possible and otherwise taken as text.

    Raises:
        InputError: `spec` does not have this form, or the module or class does not exist.
        AnswerError: The class or function raised an error.
    """
    target, *pairs = _SETTING.split(spec)
    module, _, name = target.partition(":")
    if not (module and name) or "=" in target:
        raise InputError(
            f"The language model {target!r} must be module:Class[,key=value…], such as "
            "langchain_ollama:ChatOllama,model=llama3.2."
        )
    settings = {key: _value(text) for key, _, text in (pair.partition("=") for pair in pairs)}
    create = _imported(module, name)
    try:
        return create(**settings)
    except Exception as error:  # third-party code may raise anything
        raise AnswerError(f"{target} cannot be created: {type(error).__name__}: {error}") from error


def writer(llm: object) -> Write:
    """Return a function of (instructions, request) that calls a language model of any kind.

    Raises:
        InputError: `llm` is not a language model.
    """
    homes = [base.__module__ for base in type(llm).__mro__]
    if any(home.startswith("langchain_core.") for home in homes) and hasattr(llm, "invoke"):
        return lambda instructions, request: _langchain(llm, instructions, request)
    if any(home.startswith("llama_index.core.") for home in homes) and hasattr(llm, "chat"):
        return lambda instructions, request: _llama_index(llm, instructions, request)
    if callable(llm) and not isinstance(llm, type):
        return cast(Write, llm)
    raise InputError(
        f"{llm!r} is not a language model. Pass a LangChain model, a LlamaIndex LLM, or a function "
        "of (instructions, request)."
    )


def _langchain(llm: Any, instructions: str, request: str) -> str:
    reply = llm.invoke([("system", instructions), ("human", request)])
    return str(getattr(reply, "text", reply))  # a message of a chat model, or a plain LLM's string


def _llama_index(llm: Any, instructions: str, request: str) -> str:
    from llama_index.core.llms import ChatMessage

    messages = [
        ChatMessage(role="system", content=instructions),
        ChatMessage(role="user", content=request),
    ]
    return llm.chat(messages).message.content or ""


def _imported(module: str, name: str) -> Callable[..., object]:
    try:
        home = import_module(module)
    except ModuleNotFoundError as error:
        missing = str(error.name)
        raise InputError(
            f"The module {missing!r} of {module}:{name} is not installed. Check the name or "
            "install its package, which is often called "
            f"{missing.replace('_', '-').replace('.', '-')}."
        ) from None
    except Exception as error:  # third-party code may raise anything
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
