"""The messages between a process and its parser process: a JSON value, then bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import IO, Any

TIMEOUT_STATUS = 124
"""The exit status of a parser process that reached its deadline, where signals cannot say so."""

_LENGTHS = struct.Struct("<QQ")
_PIECE = 1 << 20


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
