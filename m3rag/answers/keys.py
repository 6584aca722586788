"""The keys of language models: their check, and where a model of another library keeps them."""

from __future__ import annotations

import os
import re
import unicodedata
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from types import FunctionType, MemberDescriptorType, MethodType
from urllib.parse import parse_qsl, urlsplit

from m3rag.answers.redaction import Redactor
from m3rag.errors import InputError

_LONGEST = 8_192
_NAME = re.compile(
    r"(?i)^key$|(?:api|access|secret|private|auth|client|account|subscription)[_-]?key$"
    r"|(?:^|[_-]|access|auth|api)token$|secret|passw(?:or)?d$|credential|authorization|^(?:sig|auth)$"
)
_NOT_A_NAME = re.compile(r"(?i)(?:bos|eos|pad|unk|sep|cls|mask|stop|image)_token$")
_DATED = re.compile(r"\d{4}-\d\d-\d\d")
_VISITED = 2_000  # values inside a language model that are searched for keys

_given: dict[int, tuple[weakref.ref[object], tuple[str, ...]]] = {}


def check_key(key: object) -> None:
    """Check that a key can be sent in a header of HTTP.

    Raises:
        InputError: It is not a string, or it contains something other than visible ASCII
            characters. The message does not show the key.
    """
    if not isinstance(key, str):
        raise InputError(f"The API key must be a string, got {type(key).__name__}.")
    if len(key) > _LONGEST:
        raise InputError(f"The API key has {len(key):,} characters; at most {_LONGEST:,} are sent.")
    for position, character in enumerate(key, start=1):
        if not "!" <= character <= "~":
            raise InputError(
                f"The API key must consist of visible ASCII characters, but character {position} "
                f"of {len(key)} is {_described(character)}. Remove it: a key that was read from a "
                "file often ends with a line break."
            )


def is_key_name(name: object) -> bool:
    """Return whether a setting of this name is a key: "api_key", "token", "password" and so on."""
    return isinstance(name, str) and bool(_NAME.search(name)) and not _NOT_A_NAME.search(name)


def keys_of_url(url: str) -> Iterator[str]:
    """Yield the user name and the password of a URL, and the keys in its query."""
    try:
        parts = urlsplit(url)
        yield from filter(None, (parts.username, parts.password))
        pairs = parse_qsl(parts.query)
    except ValueError:  # a damaged URL
        return
    for name, value in pairs:
        random = len(value) >= 16 and any(map(str.isdigit, value)) and not _DATED.match(value)
        if is_key_name(name) or random:
            yield value


def remember(llm: object, keys: Iterable[str]) -> None:
    """Keep the keys that a language model was created with, for as long as it exists."""
    number = id(llm)
    try:
        reference = weakref.ref(llm, lambda _: _given.pop(number, None))
    except TypeError:  # its class has no weak references
        return
    _given[number] = reference, tuple(keys)


def redactor_of(llm: object, *more: str) -> Redactor:
    """Return a function that hides the keys of a language model of any kind."""
    reference, given = _given.get(id(llm), (None, ()))
    known = given if reference is not None and reference() is llm else ()
    return Redactor([*known, *keys_in(llm), *_keys_of_environment(), *more])


def keys_in(llm: object) -> Iterator[str]:
    """Yield the strings inside an object that are keys by their type, their name or their URL."""
    waiting: deque[tuple[object, object]] = deque([("", llm)])
    seen: set[int] = set()
    for _ in range(_VISITED):
        if not waiting:
            return
        name, value = waiting.popleft()
        if isinstance(value, str):
            if is_key_name(name):
                yield from {value, value.removeprefix("Bearer ")}
            elif value.startswith(("http://", "https://")):
                yield from keys_of_url(value)
        elif id(value) not in seen and not isinstance(value, type):
            seen.add(id(value))
            waiting.extend(islice(_inside(value), _VISITED))


def _described(character: str) -> str:
    if character in "\r\n":
        return "a line break (CR)" if character == "\r" else "a line break (LF)"
    if character.isspace():
        return "white space"
    if ord(character) < 128:
        return "a control character"
    return f"not ASCII ({unicodedata.category(character)})"


def _keys_of_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        if is_key_name(name) and len(value) >= 8 and any(map(str.isdigit, value)):
            yield value


def _inside(value: object) -> Iterator[tuple[object, object]]:
    """Yield the attributes and items of an object, by name, without running code of its own."""
    if isinstance(value, dict):
        yield from dict.items(value)
    elif isinstance(value, list | tuple):
        yield from (("", item) for item in value)
    elif isinstance(value, partial):
        yield from value.keywords.items()
        yield from (("", value.func), ("", value.args))
    elif isinstance(value, MethodType):
        yield "", value.__self__
    elif isinstance(value, FunctionType):
        yield from _closure(value)
    else:
        secret = type(value).__name__ in ("SecretStr", "SecretBytes")  # pydantic's
        yield from (("secret" if secret else name, held) for name, held in _attributes(value))


def _attributes(value: object) -> Iterator[tuple[str, object]]:
    for holder in ("__dict__", "__pydantic_private__"):
        try:
            held = object.__getattribute__(value, holder)
        except AttributeError:
            continue
        if isinstance(held, dict):
            yield from dict.items(held)
    for base in type(value).__mro__:
        for name, member in list(vars(base).items()):
            if isinstance(member, MemberDescriptorType):  # of __slots__
                try:
                    yield name, member.__get__(value)
                except AttributeError:
                    continue


def _closure(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue
