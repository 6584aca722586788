"""The messages between a process and its parser process: a JSON value, then bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict
from typing import IO, Any

from m3rag.documents.document import Heading
from m3rag.documents.formats.content import Budget, Content, Fields, Part
from m3rag.limits import Limits

TIMEOUT_STATUS = 124
"""The exit status of a parser process that reached its deadline, where signals cannot say so."""
CLOCK = 3
"""How much longer a document may take on the clock than it may compute."""

_LENGTHS = struct.Struct("<QQ")
_PIECE = 1 << 20


def pack_budget(budget: Budget) -> dict[str, Any]:
    """Return the budget of a document, without its `more_time`, as JSON values."""
    values = {**budget._asdict(), "limits": asdict(budget.limits)}
    del values["more_time"]
    return values


def unpack_budget(values: Mapping[str, Any]) -> Budget:
    """Return the budget that `pack_budget` turned into JSON values; nothing gives more time."""
    names, record = values["fields"]
    limits, fields = Limits(**values["limits"]), Fields(tuple(names), record)
    return Budget(**{**values, "limits": limits, "fields": fields})


def pack(content: Content) -> tuple[dict[str, Any], bytes]:
    """Return the header and the body of the message for a content; `unpack` is the inverse."""
    text = content.text.encode()
    header = {
        "text": len(text),
        "headings": [(heading.level, heading.title, heading.start) for heading in content.headings],
        "title": content.title,
        "pages": content.pages,
        "metadata": dict(content.metadata),
        "notes": content.notes,
        "parts": [(part.name, len(part.data)) for part in content.parts],
    }
    return header, b"".join([text, *(part.data for part in content.parts)])


def unpack(header: Mapping[str, Any], body: bytes) -> Content:
    """Return the content that `pack` turned into a message."""
    at = header["text"]
    parts = []
    for name, size in header["parts"]:
        parts.append(Part(name, body[at : at + size]))
        at += size
    return Content(
        body[: header["text"]].decode(),
        tuple(Heading(*heading) for heading in header["headings"]),
        header["title"],
        tuple(header["pages"]),
        header["metadata"],
        tuple(parts),
        tuple(header["notes"]),
    )


def send(pipe: IO[bytes], header: Mapping[str, Any], body: bytes) -> None:
    """Write a message to a pipe.

    Raises:
        OSError: The reader of the pipe is gone.
    """
    head = json.dumps(header).encode()
    _write(pipe, _LENGTHS.pack(len(head), len(body)) + head)
    _write(pipe, body)


def receive(pipe: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """Return the next message of a pipe.

    Raises:
        EOFError: The writer of the pipe is gone.
    """
    head, body = _LENGTHS.unpack(_read(pipe, _LENGTHS.size))
    header: dict[str, Any] = json.loads(_read(pipe, head))
    return header, _read(pipe, body)


def _write(pipe: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[pipe.write(view[:_PIECE]) :]


def _read(pipe: IO[bytes], size: int) -> bytes:
    pieces = []
    while size:
        piece = pipe.read(min(size, _PIECE))
        if not piece:
            raise EOFError
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
