"""Decoding text files: by their byte order mark, as declared, or as UTF-8, without guessing."""

from __future__ import annotations

import codecs
import io
from contextlib import suppress

from m3rag.documents.encodings import proposed, unmarked_utf_16
from m3rag.errors import DocumentError
from m3rag.limits import Limits

# Longest first: the byte order mark of UTF-32 starts with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CHUNK = 1 << 20  # bytes to decode at a time
_MOST_BAD = 0.02  # the share of characters of a page that may be wrong


def decoded(
    data: bytes, declared: str | None, fallback: str | None, limits: Limits
) -> tuple[str, tuple[str, ...]]:
    r"""Return a file's text, and what was lost of it, as sentences.

    A byte order mark counts most, then what the file declares. Text that declares nothing is UTF-8;
    if it is not, `fallback` says what it is. A page that declares an encoding may still have bytes
    that are not in it; they become U+FFFD, as in browsers.

    Args:
        data: The content of the file.
        declared: The encoding that the file declares, if any.
        fallback: The encoding of a file that declares none and is not UTF-8; None to refuse it.
        limits: `text_characters` is the most characters.

    Raises:
        DocumentError: The bytes are not text in that encoding, or the text is too long.
    """
    if any(data.startswith(mark) for mark, _ in _MARKS):
        return decode(data, None, limits), ()
    first = declared or unmarked_utf_16(data) or "utf-8"
    others = ["utf-8"] if declared else [fallback] if fallback else []
    for encoding in (first, *others):
        with suppress(UnicodeError):
            return _decode(data, 0, encoding, limits), ()
    if declared is None:
        return decode(data, first, limits), ()
    text = _decode(data, 0, declared, limits, errors="replace")
    bad = text.count("\ufffd")
    if bad > _MOST_BAD * len(text):
        return decode(data, declared, limits), ()
    note = f"{bad:,} characters are not {declared.upper()}, which it declares, and became U+FFFD."
    return text, (note,)


def decode(data: bytes, declared: str | None, limits: Limits) -> str:
    r"""Return a file's text, with "\n" as its only line end.

    Args:
        data: The content of the file.
        declared: The encoding if there is no byte order mark; None means UTF-8.
        limits: `text_characters` is the most characters.

    Raises:
        DocumentError: The bytes are not text in that encoding, or the text is too long.
    """
    mark, encoding = next(
        ((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", declared or "utf-8")
    )
    try:
        return _decode(data, len(mark), encoding, limits)
    except UnicodeError as error:
        place = getattr(error, "start", 0)
        raise DocumentError(
            f"byte {place} is not {encoding.upper()}. {_advice(data, place)}"
        ) from error


def _advice(data: bytes, place: int) -> str:
    """Return how to have a file read that is not UTF-8."""
    if found := proposed(data, place):
        return (
            f'As {found.name.upper()} it reads "{found.excerpt}". If that is right, pass '
            f'--encoding {found.name} or encoding="{found.name}", or save it as UTF-8: '
            f"`iconv -f {found.name} -t UTF-8 old > new`."
        )
    return (
        "Save the file as UTF-8, or name its encoding: --encoding, or encoding=…. "
        "`iconv -f ENCODING -t UTF-8 old > new` converts it."
    )


def _decode(data: bytes, skip: int, encoding: str, limits: Limits, errors: str = "strict") -> str:
    """Return the text of a file after its byte order mark.

    Raises:
        UnicodeError: A byte is not in the encoding; the error has its place in the file as `start`.
        DocumentError: It has a NUL, or is too long.
    """
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    lines = io.IncrementalNewlineDecoder(decoder, translate=True)
    view = memoryview(data)[skip:]
    parts: list[str] = []
    length = 0
    for start in range(0, max(len(view), 1), _CHUNK):
        last = start + _CHUNK >= len(view)
        waiting = len(decoder.getstate()[0])  # bytes of a character that started in the last piece
        try:
            part = lines.decode(bytes(view[start : start + _CHUNK]), final=last)
        except UnicodeDecodeError as error:
            error.start += start - waiting + skip
            raise
        if (at := part.find("\0")) >= 0:
            raise DocumentError(
                f"character {length + at} is NUL, so it is a binary file. Convert it to UTF-8 text."
            )
        parts.append(part)
        length += len(part)
        check_length(length, limits)
    return "".join(parts)


def check_length(characters: int, limits: Limits) -> None:
    """Check the length of a document's text.

    Raises:
        DocumentError: It is above the limit.
    """
    if characters > limits.text_characters:
        raise DocumentError(
            f"its text has more than {limits.text_characters:,} characters. Split it, or raise the "
            "limit: Limits(text_characters=…)."
        )
