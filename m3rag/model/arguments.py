"""Check the arguments with which a model is loaded."""

from __future__ import annotations

import os
import re
from numbers import Integral
from typing import cast

from m3rag.errors import InputError
from m3rag.model.architecture import MIN_LENGTH
from m3rag.model.modelfiles import counted, shortened

_REVISION = re.compile(r"[^\s\x00-\x1f\x7f~^:?*\[\\]{1,255}")  # what git allows in a name


def check_name(name: object) -> None:
    """Check the name or folder of a model.

    Raises:
        InputError: It is neither a string nor a path, or it is empty.
    """
    place = os.fspath(name) if isinstance(name, str | os.PathLike) else None
    if not isinstance(place, str) or not place:
        raise InputError(
            f'The model must be a hub id, a folder or a name such as "small", got '
            f"{shortened(name)}. Pass a string or a path."
        )


def check_revision(revision: object) -> None:
    """Check a branch, tag or commit.

    Raises:
        InputError: It cannot be one.
    """
    if revision is None:
        return
    sound = isinstance(revision, str) and _REVISION.fullmatch(revision)
    if not isinstance(revision, str) or not sound or ".." in revision or revision[0] in "/-":
        raise InputError(
            f"`revision` must be a branch, tag or commit of the hub, got {shortened(revision)}."
        )


def check_count(name: str, value: object, lowest: int | None = None) -> None:
    """Check an integer; True and False are none.

    Raises:
        InputError: It is not an integer of at least `lowest`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"`{name}` must be an integer, got {type(value).__name__}.")
    if lowest is not None and int(value) < lowest:
        raise InputError(f"`{name}` must be at least {lowest}, got {counted(int(value))}.")


def check_limit(max_length: object, longest: int | None = None, *, least: int = MIN_LENGTH) -> None:
    """Check the most tokens of a text.

    Args:
        max_length: The most tokens.
        longest: The most that the model takes; None if it is not loaded yet.
        least: The fewest that it takes.

    Raises:
        InputError: It is not an integer, or out of range.
    """
    check_count("max_length", max_length)
    length = int(cast("int", max_length))
    if length < least or (longest is not None and length > longest):
        upper = "a few thousand" if longest is None else f"{longest:,}"
        raise InputError(
            f"max_length={counted(length)} is out of range: this model takes {least} to "
            f"{upper} tokens. Split longer texts with m3rag.split."
        )


def check_sizes(max_length: object, batch_tokens: object, memo_bytes: object = 0) -> None:
    """Check the numbers with which a model is loaded.

    Raises:
        InputError: One is not an integer, or out of range.
    """
    if max_length is not None:
        check_limit(max_length)
    if batch_tokens is not None:
        check_count("batch_tokens", batch_tokens, 1)
    check_count("memo_bytes", memo_bytes, 0)
