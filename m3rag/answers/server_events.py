"""Reads the answer of a chat server that sends it in pieces, as server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse

from m3rag.answers.redaction import Redactor
from m3rag.errors import AnswerError
from m3rag.limits import Limits

_LINE = 1 << 20  # bytes
_END = "[DONE]"


def is_stream(response: HTTPResponse) -> bool:
    """Return whether a response is a stream of events; an error is none."""
    kind = (response.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    compressed = response.headers.get("Content-Encoding", "identity").strip().lower()
    return response.status == 200 and kind == "text/event-stream" and compressed == "identity"


def pieces(response: HTTPResponse, limits: Limits) -> Iterator[str]:
    """Yield the pieces of a chat completion, in order.

    Raises:
        AnswerError: The server reports an error, the answer is too long, or it has no end.
        OSError, HTTPException: The connection was lost.
    """
    left = limits.answer_characters
    finished = False
    for data in _data(response):
        if data == _END:
            return
        piece, reason = _parsed(data)
        finished = finished or reason
        left -= len(piece)
        if left < 0:
            raise AnswerError(
                f"sent an answer of more than {limits.answer_characters:,} characters. Ask for a "
                "shorter one, or raise the limit `answer_characters`."
            )
        if piece:
            yield piece
    if not finished:
        raise AnswerError("ended its answer in the middle. Ask again.")


class HeldBack:
    """Text that arrives in pieces, and is passed on without keys.

    Args:
        hide: Hides the keys.
    """

    def __init__(self, hide: Redactor) -> None:
        self._hide = hide
        self._hold = hide.longest
        self._waiting = ""

    def add(self, piece: str) -> str:
        """Return what can be passed on: all but the end, in which a key may begin."""
        self._waiting += piece
        if not self._hold:
            return self.rest()
        if len(self._waiting) <= 2 * self._hold:
            return ""
        hidden = self._hide.answer(self._waiting)
        cut = max(0, len(hidden) - self._hold)
        self._waiting = hidden[cut:]
        return hidden[:cut]

    def rest(self) -> str:
        """Return what was held back."""
        rest, self._waiting = self._hide.answer(self._waiting), ""
        return rest


def _data(response: HTTPResponse) -> Iterator[str]:
    """Yield the data of each event; an event of a chat completion has one line."""
    while line := response.readline(_LINE + 1):
        if len(line) > _LINE:
            raise HTTPException(f"it sent a line of more than {_LINE:,} bytes")
        name, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(":")
        if name == "data":
            yield value.strip()


def _parsed(data: str) -> tuple[str, bool]:
    """Return the text of an event, and whether the answer ends with it."""
    try:
        event = json.loads(data)
        if isinstance(event, dict) and "error" in event:
            raise AnswerError(f"reported an error in its answer: {json.dumps(event['error'])}")
        if not event["choices"]:  # the usage, for example
            return "", False
        choice = event["choices"][0]
        text = (choice.get("delta") or {}).get("content")
        return text if isinstance(text, str) else "", choice.get("finish_reason") is not None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise AnswerError(f"did not send a part of a chat completion but {data[:80]!r}.") from None
