"""Check metadata, and copy them as JSON values."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from m3rag.errors import InputError
from m3rag.limits import Limits, check_text, shown
from m3rag.values import json_form

_CONTAINERS = (list, tuple, dict)
_JSON = (
    " Text must be Unicode, and metadata must be JSON: strings, finite numbers, booleans, None, "
    "lists, and dicts with string keys."
)


def checked_metadata(metadata: object, limits: Limits) -> dict[str, Any]:
    """Return a copy of metadata as JSON values: lists for tuples, the JSON form of other types.

    It does not recurse and stops as soon as a limit is reached. So metadata that contain
    themselves, or the same list many times, are refused like others that are too deep or too large.

    Raises:
        InputError: They are no JSON, too deep or too large.
    """
    if not isinstance(metadata, Mapping):
        raise InputError(f"its metadata must be a dict, got {shown(metadata)}.{_JSON}")
    copy: dict[str, Any] = {}
    size = 0
    todo: list[tuple[Any, Any, tuple[object, ...]]] = [(metadata, copy, ())]
    while todo:
        source, target, path = todo.pop()
        size += 2 * len(source) + 2
        if size > limits.metadata_bytes:
            raise _too_large(f"more than {limits.metadata_bytes:,}", limits)
        is_list = type(target) is list
        for key, value in enumerate(source) if is_list else list(source.items()):
            part: Any = value
            if not is_list:
                size += _key_size(key, path, limits)
            if type(value) in _CONTAINERS:
                if len(path) == limits.metadata_depth:
                    raise InputError(
                        f"its {_place((*path, key))} is nested more than {len(path)} deep "
                        "(Limits.metadata_depth). Flatten it."
                    )
                part = {} if type(value) is dict else []
                todo.append((value, part, (*path, key)))
            else:
                part = json_form(value)
                size += _scalar_size(part, key, path)
            if is_list:
                target.append(part)
            else:
                target[key] = part
    if 6 * size > limits.metadata_bytes:  # an escaped character takes up to six bytes
        exact = len(json.dumps(copy, ensure_ascii=False).encode())
        if exact > limits.metadata_bytes:
            raise _too_large(f"{exact:,}", limits)
    return copy


def _key_size(key: object, path: tuple[object, ...], limits: Limits) -> int:
    if type(key) is not str:
        raise InputError(
            f"a key in its metadata is not a string, but {shown(key, 80)} of type {_kind(key)}, "
            f"in {_place(path)}.{_JSON}"
        )
    if len(key) > limits.key_characters or not key.isascii():
        what = f"a key in its {_place(path)}"
        check_text(what, key, limits.key_characters, "key_characters")
    return len(key)


def _scalar_size(value: object, key: object, path: tuple[object, ...]) -> int:
    """Return about how many bytes a value takes as JSON, if it is no list or dict.

    Raises:
        InputError: JSON has no such type, or the value is not a finite number.
    """
    if type(value) is str:
        if not value.isascii():
            check_text(f"its {_place((*path, key))}", value, len(value), "metadata_bytes")
        return len(value)
    if value is None or type(value) is bool:
        return 4
    if type(value) is int or type(value) is float:
        if not -sys.float_info.max <= value <= sys.float_info.max:
            raise InputError(
                f"its {_place((*path, key))} is {shown(value)}, but numbers must be finite and at "
                f"most 1.8e308.{_JSON}"
            )
        return 20 if isinstance(value, float) else 3 + value.bit_length() // 3
    raise InputError(
        f"its {_place((*path, key))} is of type {_kind(value)}: {shown(value, 80)}. Convert "
        f"it.{_JSON}"
    )


def _too_large(size: str, limits: Limits) -> InputError:
    return InputError(
        f"its metadata takes {size} bytes as JSON, and the limit is {limits.metadata_bytes:,} "
        "(Limits.metadata_bytes). Put long texts into passages."
    )


def _place(path: tuple[object, ...]) -> str:
    """Return the place of a value in metadata, such as `metadata['tags'][0]`."""
    text = "".join(f"[{shown(key, 40)}]" for key in path[:4])
    return f"metadata{text}{'…' if len(path) > 4 else ''}"


def _kind(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
