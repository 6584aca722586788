"""Values of arguments and attributes that are refused, as errors of m3rag."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from m3rag.errors import InputError
from m3rag.limits import shown


@contextmanager
def own_errors(what: str) -> Iterator[None]:
    """Turn an error of pydantic into one of m3rag.

    Args:
        what: The class, to begin the message with.

    Raises:
        InputError: A value is of another kind than its field; the message names both.
    """
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, InputError):
            raise cause from None
        name = ".".join(map(str, first["loc"]))
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise InputError(f"{what}: `{name}`: {message}, got {shown(first['input'])}.") from None


def assign(component: Any, name: str, value: object, put: Callable[[str, Any], None]) -> None:
    """Assign an attribute, and take it back if it or the component's `_check` fails.

    Args:
        component: The component; its `_check` checks all attributes together.
        name: The name of an attribute that it has.
        value: The new value.
        put: The `__setattr__` of the component's base class.

    Raises:
        InputError: The value is of another kind, or does not fit the others.
    """
    before = getattr(component, name)
    try:
        with own_errors(type(component).__name__):
            put(name, value)  # a property's setter may assign, and then refuse
        component._check()
    except BaseException:
        put(name, before)
        raise
