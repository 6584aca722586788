"""Watches every request: its figures, its line in the log, its span, and bugs that it meets."""

from __future__ import annotations

import logging
import random
import re
import time
from contextvars import ContextVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from m3rag.limits import brief
from m3rag.serve.errors import respond
from m3rag.serve.keys import ANYONE, Key
from m3rag.serve.metrics import Metrics
from m3rag.serve.tracing import Tracing

_NOTES: ContextVar[dict[str, int] | None] = ContextVar("_NOTES", default=None)
_ID = re.compile(r"[\w.:-]{1,100}", re.ASCII)
_CLIENT_GONE = 499  # as nginx logs it
_PATH = 300  # characters of a path in a log

_access = logging.getLogger("m3rag.access")
_log = logging.getLogger("m3rag.serve")


def note(**numbers: int) -> None:
    """Add numbers to the log line and the span of the current request: its texts and tokens."""
    notes = _NOTES.get()
    if notes is not None:
        notes.update(numbers)


class Observer:
    """ASGI middleware, the outermost: it sees the response that the client gets."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: Tracing | None) -> None:
        self._app = app
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else f"{random.getrandbits(64):016x}"
        status: int | None = None  # of the response, once it has begun
        notes: dict[str, int] = {}
        token = _NOTES.set(notes)
        span = None if self._tracing is None else self._tracing.start(scope, headers)

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:  # a bug: the client gets no details
            _log.error(
                "A request failed with a bug in m3rag.",
                exc_info=error,
                extra={"request_id": request_id},
            )
            if status is not None:  # the client must not take a part for the whole
                raise ConnectionAbortedError("The response broke off.") from None
            await respond(error, scope["path"])(scope, receive, sending)
        finally:
            _NOTES.reset(token)
            route = _route(scope)
            seconds = time.perf_counter() - started
            ended = status or _CLIENT_GONE
            self._metrics.count(route, scope["method"], ended, seconds, notes.get("texts"))
            if span is not None:
                span.end(route, ended, notes)
            _write(scope, route, ended, seconds, request_id, notes)


def _route(scope: Scope) -> str:
    """Return the path with the names of its parameters: figures are counted for each route."""
    return getattr(scope.get("route"), "path", None) or "other"


def _write(
    scope: Scope,
    route: str,
    status: int,
    seconds: float,
    request_id: str,
    notes: dict[str, int],
) -> None:
    """Write the line of a request: who, what, and how long, but no text and no key."""
    if not _access.isEnabledFor(logging.INFO):
        return
    key: Key = scope.get("state", {}).get("key", ANYONE)
    client = scope.get("client")
    _access.info(
        "request",
        extra={
            "request_id": request_id,
            "client": client[0] if client else None,
            "key": key.name,
            "method": scope["method"],
            "path": brief(scope["path"], _PATH),
            "route": route,
            "status": status,
            "milliseconds": round(seconds * 1000, 1),
            **notes,
        },
    )
