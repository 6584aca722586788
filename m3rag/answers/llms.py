"""Language models of other libraries, created from a name and called in one way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

from m3rag.answers.failures import caused_by, described
from m3rag.answers.keys import is_key_name, keys_in, redactor_of, remember
from m3rag.answers.redaction import Redactor, excerpt
from m3rag.errors import AnswerError, InputError, M3Error

Write = Callable[[str, str], str]
"""A function from instructions and a request to the text of a language model."""

_SETTING = re.compile(r",(?=[A-Za-z_]\w*=)")  # a value may contain commas
_TARGET = re.compile(r"([\w.]+):([\w.]+)")


def load_llm(spec: str) -> object:
    """Create a language model from `module:Class[,key=value…]`.

    Args:
        spec: A class, or a function that returns a model, and its arguments. Values are parsed as
            JSON if possible and otherwise taken as text. The value of a key, such as `api_key`, is
            text, and no error shows it.

    Raises:
        InputError: `spec` does not have this form, a key contains control characters, or the
            module or class does not exist.
        AnswerError: The class or function raised an error.
    """
    target, *pairs = _SETTING.split(spec)
    match = _TARGET.fullmatch(target)
    if not match:
        named = re.match(r"[\w.:]{0,64}", target)
        raise InputError(
            f"The language model {named[0] if named else ''!r} must be module:Class[,key=value…], "
            "such as langchain_ollama:ChatOllama,model=llama3.2."
        )
    texts = [(key, text) for key, _, text in (pair.partition("=") for pair in pairs)]
    settings = {key: _value(key, text) for key, text in texts}
    keys = {*keys_in(settings), *(text for key, text in texts if is_key_name(key))}
    found = _created(match[1], match[2], settings, redactor_of(None, *keys))
    if isinstance(found, M3Error):  # raised here, it drags no other exception along
        raise found
    remember(found, keys)
    return found


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
    if isinstance(llm, str):
        what = repr(excerpt(llm, Redactor()))
    else:  # its `repr` may show a key
        what = f"The class {llm.__name__}" if isinstance(llm, type) else f"A {type(llm).__name__}"
    raise InputError(
        f"{what} is not a language model. Pass a LangChain model, a LlamaIndex LLM, or a function "
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


def _created(module: str, name: str, settings: dict[str, Any], hide: Redactor) -> object:
    """Return a language model, or the error to raise."""
    create = _imported(module, name, hide)
    if isinstance(create, InputError):
        return create
    try:
        return create(**settings)
    except Exception as error:  # third-party code may raise anything
        message = f"{module}:{name} cannot be created: {described(error, hide)}"
        return caused_by(AnswerError(message), error, hide)


def _imported(module: str, name: str, hide: Redactor) -> Callable[..., object] | InputError:
    """Return a class or function, or the error to raise."""
    try:
        home = import_module(module)
    except ModuleNotFoundError as error:
        missing = str(error.name)
        return InputError(
            f"The module {missing!r} of {module}:{name} is not installed. Check the name or "
            "install its package, which is often called "
            f"{missing.replace('_', '-').replace('.', '-')}."
        )
    except Exception as error:  # third-party code may raise anything
        message = f"The module {module!r} cannot be imported: {described(error, hide)}"
        return caused_by(InputError(message), error, hide)
    found = getattr(home, name, None)
    if not callable(found):
        return InputError(f"The module {module!r} has no class or function {name!r}.")
    return cast(Callable[..., object], found)


def _value(key: str, text: str) -> Any:
    """Return a setting: JSON or text, and only text or null for a key.

    Raises:
        InputError: A key contains control characters. The message does not show it.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if not is_key_name(key):
        return value
    value = text if isinstance(value, int | float) else value
    if isinstance(value, str) and not value.isprintable():
        raise InputError(
            f"`{key}` of the language model contains a line break or another character that "
            "cannot be printed. Remove it."
        )
    return value
