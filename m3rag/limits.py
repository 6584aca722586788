"""Resource limits, in one place: how much of what comes from outside m3rag accepts.

Documents, metadata, queries, filters and the answers of language models come from outside. Each
limit stops one of them from taking all memory, disk or time. The defaults are far above what real
data needs. A function with a limit takes a `Limits` and raises an error that names the limit and
the value that was found. `shown` limits how much of that value the error quotes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields, is_dataclass
from itertools import islice
from typing import TypeGuard

from m3rag.errors import InputError

_ITEMS = 8  # of a container in a message
_LEVELS = 3  # of nested containers in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits. Change one with `Limits(file_bytes=1 << 30)`.

    Attributes:
        file_bytes: The largest document file to read, in bytes.
        expanded_bytes: The most bytes that the parts of one archive, such as a .docx file, may have
            together after decompression.
        archive_ratio: The highest ratio of decompressed to compressed bytes of an archive or a
            compressed data file of more than 16 MiB.
        pages: The most pages of one document.
        text_characters: The most characters of text of one document or passage, and the most bytes
            of one line of a data file.
        reader_seconds: The seconds that reading one document may take of one core. If others keep
            the cores busy, three times as long may pass.
        reader_bytes: The most bytes of memory that reading one document may take.
        metadata_depth: The deepest nesting of lists and dicts in the metadata of a passage.
        metadata_bytes: The most bytes of a passage's metadata as JSON, and of its headings.
        key_characters: The most characters of a metadata key or a filter field.
        id_characters: The most characters of a passage id or a document id.
        query_characters: The most characters of a query.
        filter_depth: The deepest nesting of $and, $or and $not in a filter.
        filter_conditions: The most conditions and operators in a filter.
        filter_values: The most values and bounds in a filter.
        results: The highest `k` and `candidates` of a search, and the largest batch.
        answer_bytes: The most bytes of a language model server's response.
        answer_seconds: The seconds within which a language model server must have answered
            completely.
        answer_characters: The most characters of a written answer.

    Raises:
        InputError: A limit is not a number of at least 1; only seconds may have decimals.
    """

    file_bytes: int = 256 << 20
    expanded_bytes: int = 1 << 30
    archive_ratio: int = 200
    pages: int = 20_000
    text_characters: int = 64 << 20
    reader_seconds: float = 7.0
    reader_bytes: int = 768 << 20
    metadata_depth: int = 32
    metadata_bytes: int = 1 << 20
    key_characters: int = 512
    id_characters: int = 8_192
    query_characters: int = 1_000_000
    filter_depth: int = 32
    filter_conditions: int = 10_000
    filter_values: int = 1_000_000
    results: int = 1_000_000
    answer_bytes: int = 8 << 20
    answer_seconds: float = 120.0
    answer_characters: int = 1_000_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            decimals = field.type == "float"  # a string, because annotations are not evaluated
            kinds = int | float if decimals else int
            if isinstance(value, bool) or not isinstance(value, kinds) or not 1 <= value < math.inf:
                what = "a number" if decimals else "an integer"
                raise InputError(
                    f"The limit `{field.name}` must be {what} of at least 1, got {shown(value)}."
                )


DEFAULT_LIMITS = Limits()


def check_count(name: str, value: object, *, least: int = 1, most: int | None = None) -> int:
    """Return a number of things, such as `k`, after checking that it is an integer in range.

    Args:
        name: The name of the argument.
        value: The value.
        least: The smallest number.
        most: The largest number; `DEFAULT_LIMITS.results` if None.

    Raises:
        InputError: The value is not an integer, or out of range.
    """
    most = DEFAULT_LIMITS.results if most is None else most
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"`{name}` must be an integer of at least {least}, got {shown(value)}.")
    if value > most:
        raise InputError(f"`{name}` must be at most {most:,}, got {shown(value)}.")
    return value


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is an int or a float; a bool is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_text(what: str, text: str, most: int, limit: str) -> None:
    """Check that a text is valid Unicode and not too long.

    Args:
        what: What the text is, to begin a sentence with, such as "The query".
        text: The text.
        most: The most characters.
        limit: The name of the limit.

    Raises:
        InputError: It has too many characters, or a lone surrogate, which is half a character.
    """
    if len(text) > most:
        raise InputError(
            f"{what} has {len(text):,} characters, and the limit is {most:,} (Limits.{limit}). "
            "Shorten it."
        )
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{what} is not valid Unicode: character {error.start:,} is the lone surrogate "
                f"{text[error.start]!r}. Remove it, for example with "
                'text.encode(errors="replace").decode().'
            ) from None


def shown(value: object, most: int = 200) -> str:
    """Return a value as one line of at most about `most` characters, for an error message.

    Any value is safe: one that is huge, deeply nested, contains itself, or cannot be printed.
    """
    text = _short(value, most, _LEVELS)
    return text if len(text) <= most + 60 else f"{text[:most]}…"


def brief(text: object, most: int = 200) -> str:
    """Return a text, such as the message of another error, as one line of at most `most`."""
    line = " ".join(str(text)[: 4 * most].split())
    return line if len(line) <= most else f"{line[:most]}…"


def _short(value: object, most: int, levels: int) -> str:
    if isinstance(value, str | bytes | bytearray):
        part = value[:most]  # not the value itself: a class of its own may print anything
        text = repr(str.__str__(part) if isinstance(part, str) else bytes(part))
        unit = "characters" if isinstance(value, str) else "bytes"
        return f"{text}… ({len(value):,} {unit})" if len(value) > most else text
    if isinstance(value, int) and int.bit_length(value) > 3 * most:
        return f"an integer of about {int(int.bit_length(value) * math.log10(2)) + 1:,} digits"
    if isinstance(value, list | tuple | set | frozenset | dict):
        return _container(value, most, levels)
    if is_dataclass(value) and not isinstance(value, type):
        # Its repr takes forever if the same parts occur many times.
        names = [field.name for field in fields(value) if field.repr] if levels else []
        parts = (f"{n}={_short(getattr(value, n, None), most, levels - 1)}" for n in names)
        text = ", ".join(parts) if levels else "…"
        return f"{type(value).__name__}({text[:most]}{'…' if len(text) > most else ''})"
    kind = getattr(getattr(value, "dtype", None), "kind", None)  # of an array's numbers
    if kind == "O" or (kind is None and isinstance(value, Collection)):
        return f"<{type(value).__name__}>"
    try:
        text = " ".join(repr(value).split())
    except Exception:  # the code of another class
        text = f"<{type(value).__name__}>"
    return text if len(text) <= most else f"{text[:most]}… ({type(value).__name__})"


def _container(value: Collection[object], most: int, levels: int) -> str:
    """Return the first items of a list, tuple, set or dict."""
    before, after = "{}"
    if isinstance(value, list | tuple):
        before, after = "[]" if isinstance(value, list) else "()"
    elif isinstance(value, set | frozenset) and not value:
        return "set()"
    if levels == 0 and value:
        return f"{before}…{after}"
    parts: list[str] = []
    for part in _parts(value, most, levels - 1):
        parts.append(part)
        if sum(map(len, parts)) > most:
            break
    if len(parts) < len(value):
        parts.append(f"… {len(value):,} items")
    elif isinstance(value, tuple) and len(parts) == 1:
        after = ",)"
    return f"{before}{', '.join(parts)}{after}"


def _parts(value: Collection[object], most: int, levels: int) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in islice(value.items(), _ITEMS):
            yield f"{_short(key, most, levels)}: {_short(item, most, levels)}"
    else:
        for item in islice(value, _ITEMS):
            yield _short(item, most, levels)
