"""Errors of other libraries, as errors of m3rag that show no key."""

from __future__ import annotations

from typing import TypeVar

from m3rag.answers.redaction import Redactor, excerpt
from m3rag.errors import M3Error

E = TypeVar("E", bound=M3Error)

_SEARCHED = 100_000  # characters of an error that are searched for keys
_LONGEST_CHAIN = 50


def caused_by(new: E, error: BaseException, hide: Redactor) -> E:
    """Return `new` with `error` as its cause, unless that or an error behind it shows a key.

    Raise it outside of the `except` block: Python would keep `error` as its context.
    """
    if not _leaks(error, hide):
        new.__cause__ = error
    return new


def described(error: BaseException, hide: Redactor) -> str:
    """Return the type and the shortened message of an error, without keys."""
    return f"{type(error).__name__}: {excerpt(_message(error), hide)}"


def described_value(value: object, hide: Redactor) -> str:
    """Return the shortened `repr` of any value, without keys."""
    try:
        return excerpt(repr(value), hide)
    except Exception:  # the value is of another library
        return f"a {type(value).__name__}"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # so is the error
        return "its message cannot be read"


def _leaks(error: BaseException, hide: Redactor) -> bool:
    """Return whether the error, or one that it came from, shows a key or is too long to tell."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        try:
            text = "\n".join((str(one), repr(one), *map(str, getattr(one, "__notes__", ()))))
        except Exception:  # its message cannot be read
            return True
        if len(seen) > _LONGEST_CHAIN or len(text) > _SEARCHED or hide(text) != text:
            return True
        waiting += (one.__cause__, one.__context__)
        waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
    return False
