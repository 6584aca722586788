"""Values that pydantic does not accept, as errors of m3rag."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
