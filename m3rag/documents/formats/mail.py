"""Mail (.eml): the text under its subject, the headers as metadata, the attachments as parts.

The parser uses the standard library's email package. Of a text in two forms it takes the plain one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import parsedate_to_datetime

from m3rag.documents.encodings import codec_of
from m3rag.documents.formats import html
from m3rag.documents.formats.content import UNLIMITED, Budget, Content, Part, Writer

_HEADERS = ("from", "to", "cc")
_LONGEST = 10_000  # characters of a header that are decoded, which takes quadratic time
_TEXTS = (".txt", ".md", ".csv", ".tsv")  # attachments that do not declare their encoding
_UNICODE = ("utf-7", "utf-16", "utf-16le", "utf-16be", "utf-32")
_DEEPEST = 32  # levels of parts in parts


def parse(data: bytes, budget: Budget = UNLIMITED) -> Content:
    """Return the text of a mail, with its attachments as parts."""
    message = message_from_bytes(data)
    subject = header(message, "subject")
    mail = _Mail()
    mail.walk(message)
    metadata = {name: text for name in _HEADERS if (text := header(message, name))}
    if date := _date(header(message, "date")):
        metadata["date"] = date
    return letter(subject, mail.bodies, metadata, mail.parts)


def letter(
    subject: str, bodies: list[Content], metadata: dict[str, str], parts: list[Part]
) -> Content:
    """Return the content of a mail, whose subject is its first heading."""
    writer = Writer()
    writer.heading(1, subject)
    for body in bodies:
        writer.include(body)
    content = writer.content(title=subject)
    return content._replace(metadata=metadata, parts=tuple(parts))


def header(message: Message, name: str) -> str:
    """Return a header as readable text; "" if there is none."""
    raw = (str(value) for key, value in message.raw_items() if key.lower() == name)
    text = next(raw, "")[:_LONGEST]
    declared = None if text.isascii() else next(filter(None, map(_charset, message.walk())), None)
    return " ".join(_decoded(text, declared).split())


def _decoded(text: str, declared: str | None = None) -> str:
    """Return a header with its encoded words, and its bytes that are no ASCII, as text.

    Args:
        text: The header.
        declared: The encoding of the bytes that are no UTF-8, if the mail has one.
    """
    try:
        text = _text_of(text.encode("ascii", "surrogateescape"), "utf-8", declared or "ascii")
    except UnicodeError:
        text = text.encode(errors="replace").decode()
    try:
        return str(make_header(decode_header(text)))
    except (LookupError, ValueError, HeaderParseError):  # an unknown or a wrong encoding
        return text


def _date(text: str) -> str | None:
    """Return a date as ISO 8601, so that filters can compare it; None if it is none."""
    try:
        return parsedate_to_datetime(text).isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


class _Mail:
    """The texts and the attachments of a mail, in order."""

    def __init__(self) -> None:
        self.bodies: list[Content] = []
        self.parts: list[Part] = []

    def walk(self, part: Message, depth: int = 0) -> None:
        """Collect the texts and attachments in a part."""
        kind = part.get_content_type()
        if kind == "message/rfc822":
            for inner in _children(part):
                name = header(inner, "subject").replace("/", "-") or "message"
                self.parts.append(Part(f"{name}.eml", inner.as_bytes()))
        elif kind == "multipart/alternative":
            self._alternatives(part, depth)
        elif part.is_multipart():
            if depth < _DEEPEST:
                for inner in _children(part):
                    self.walk(inner, depth + 1)
        elif name := _file_name(part):
            self.parts.append(Part(name, _attached(part, name)))
        elif kind == "text/plain":
            self.bodies.append(Content(_text(part).strip("\n")))
        elif kind == "text/html":
            self.bodies.append(html.parse(_text(part)))

    def _alternatives(self, part: Message, depth: int) -> None:
        """Collect one of several forms of a text: the plain one if it is not empty."""
        forms = []
        for inner in _children(part) if depth < _DEEPEST else ():
            mail = _Mail()
            mail.walk(inner, depth + 1)
            self.parts += mail.parts
            if any(body.text.strip() for body in mail.bodies):
                forms.append((inner.get_content_type() != "text/plain", mail.bodies))
        if forms:
            self.bodies += min(forms, key=lambda form: form[0])[1]


def _children(part: Message) -> Iterator[Message]:
    payload = part.get_payload()
    if isinstance(payload, list):
        yield from (child for child in payload if isinstance(child, Message))


def _file_name(part: Message) -> str:
    """Return the name of an attachment; "" for a text of the mail itself."""
    return _decoded(part.get_filename() or "")  # "=?utf-8?…?=", against the standard


def _payload(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _charset(part: Message) -> str | None:
    """Return the codec of the encoding that a part declares, if it is not ASCII or UTF-8."""
    declared = part.get_content_charset() or "ascii"
    if declared in _UNICODE:
        return declared
    return None if declared in ("ascii", "us-ascii") else codec_of(declared)


def _text_of(data: bytes, *encodings: str) -> str:
    """Return a text in the first encoding that it can be in; in the last with U+FFFD for the rest.

    Raises:
        UnicodeError: The last one is ASCII, and the text is not.
    """
    for encoding in encodings:
        with suppress(LookupError, ValueError):
            return data.decode(encoding)
    last = encodings[-1]
    return data.decode(last, errors="strict" if last == "ascii" else "replace")


def _attached(part: Message, name: str) -> bytes:
    """Return an attachment; a text in another encoding that its part declares becomes UTF-8."""
    data, declared = _payload(part), _charset(part)
    if declared and name.lower().endswith(_TEXTS):
        with suppress(LookupError, ValueError):
            return _text_of(data, "utf-8", declared).encode()
    return data


def _text(part: Message) -> str:
    """Return a text in its encoding; if it declares none, as UTF-8 or else Windows-1252."""
    declared = _charset(part)
    text = _text_of(_payload(part), declared or "utf-8", "utf-8", declared or "cp1252")
    text = re.sub("\r\n?", "\n", text).replace("\0", "\ufffd")
    return _unfolded(text) if part.get_param("format") == "flowed" else text


def _unfolded(text: str) -> str:
    """Return a text of "format=flowed" with its paragraphs as one line each (RFC 3676)."""
    text = re.sub(r"(?m)^ (?=[ >]|From )", "", text)  # stuffing
    return re.sub(r"(?<!^-- )(?<! ) \n(?!>|\n)", " ", text)
