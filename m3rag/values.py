"""The JSON form of values of other types, in metadata and in filters alike.

    datetime, date, time    ISO 8601, as `isoformat()` returns it: "2026-03-01T10:00:00+00:00"
    UUID                    "12345678-1234-5678-1234-567812345678"
    Path                    with "/" between its parts
    Enum                    the JSON form of its value
    numpy scalars           the number, boolean, string or datetime
    subclasses              str, int and float without the subclass

Filters turn their values into the same form, so what was stored is found again.
"""

from __future__ import annotations

from datetime import date, time
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

_PLAIN = (str, int, float, bool, type(None))
_KINDS = {"b": bool, "i": int, "u": int, "f": float, "U": str}  # of a numpy dtype


def json_form(value: object) -> Any:
    """Return the JSON form of a value; the value itself if it has none, or is JSON already."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Enum):
        return json_form(value.value)
    if isinstance(value, date | time):
        return value.isoformat() if value == value else value  # pandas' NaT is no time
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, PurePath):
        return value.as_posix()
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    if kind is not None:
        return _numpy_form(value, kind)
    for plain in (str, int, float):
        if isinstance(value, plain):  # not str(value): the subclass may print anything
            return _without_subclass(value, plain)
    return value


def _numpy_form(value: Any, kind: object) -> Any:
    if getattr(value, "shape", None) != ():
        return value
    if kind == "M":
        moment = value.astype("datetime64[us]").item()
        return value if moment is None else moment.isoformat()
    return _KINDS[kind](value) if kind in _KINDS else value


def _without_subclass(value: Any, plain: type) -> Any:
    if plain is str:
        return str.__str__(value)
    return int.__int__(value) if plain is int else float.__float__(value)
