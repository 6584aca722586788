"""Admits requests up to a number, a size and a time, and stops those whose client has gone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from m3rag.serve.backend import Backend
from m3rag.serve.config import ServeConfig
from m3rag.serve.errors import ServeError, respond

_UNLIMITED = frozenset({"/health", "/ready", "/metrics"})
"""What answers also if the server has all the requests that it can work on."""

_UPLOAD = re.compile(r"/v1/kbs/[^/]+/documents/?")
_STORE = re.compile(r"/v1/kbs/[^/]+/(?:store|model)/")
_FORM_BYTES = 64 << 10  # the headers and fields of an upload, beside the file
_DISCARDED = 64 << 20
_RETRY_AFTER = "1"


_STOPPED = ServeError(
    503,
    "The server stopped before the request was finished. Send it again.",
    code="draining",
    headers={"Connection": "close"},
)


class Admission:
    """ASGI middleware that bounds the requests that the server works on."""

    def __init__(self, app: ASGIApp, backend: Backend) -> None:
        self._app = app
        self._backend = backend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a connection."""
        if scope["type"] != "http" or scope["path"] in _UNLIMITED:
            await self._app(scope, receive, send)
            return
        config = self._backend.config
        most = config.max_concurrent_requests
        if self._backend.running >= most:
            error = ServeError(
                429,
                f"The server works on {most:,} requests, which is its limit. Try again in a "
                "second.",
                code="overloaded",
                headers={"Retry-After": _RETRY_AFTER},
            )
            await respond(error, scope["path"])(scope, receive, send)
            return
        self._backend.running += 1
        try:
            await _Exchange(scope, receive, send, self._backend).run(self._app)
        finally:
            self._backend.running -= 1


class _Exchange:
    """One request and its response, within the limits."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, backend: Backend) -> None:
        self._scope = scope
        self._receive_more = receive
        self._send_more = send
        self._backend = backend
        config = backend.config
        self._seconds = config.request_timeout
        self._limit, self._option = _limit_of(scope["path"], config)
        self._size = 0  # of the body so far
        self._started = self._ended = False  # the response
        self._gone: asyncio.Task[None] | None = None  # waits for the client to go away
        self._has_gone = False
        self._task = asyncio.current_task()  # in which the app answers
        self._move_deadline: Callable[[float | None], None] = lambda when: None

    async def run(self, app: ASGIApp) -> None:
        """Let the app answer the request."""
        try:
            async with asyncio.timeout(self._seconds) as deadline:
                self._move_deadline = deadline.reschedule
                try:
                    await self._refuse_length()
                    await app(self._scope, self._receive, self._send)
                except ServeError as error:
                    await self._respond(error)
        except TimeoutError:
            if self._started or not deadline.expired():
                raise
            await self._respond(self._too_slow())
        except asyncio.CancelledError:
            stopped = not self._backend.ready and not self._started
            if self._task is None or not (self._has_gone or stopped):
                raise
            self._task.uncancel()
            if not self._has_gone:
                await self._respond(_STOPPED)
        finally:
            if self._gone is not None:
                self._gone.cancel()

    async def _receive(self) -> Message:
        """Receive a part of the body; afterwards, wait until the client has gone."""
        if self._gone is not None:
            await asyncio.shield(self._gone)
            return {"type": "http.disconnect"}
        message = await self._receive_more()
        if message["type"] == "http.disconnect":
            return message
        self._size += len(message.get("body", b""))
        if self._size > self._limit:
            await self._discard()
            raise self._too_large()
        if not message.get("more_body", False):
            self._gone = asyncio.create_task(self._wait_until_gone())
            if not self._started:
                self._move_deadline(asyncio.get_running_loop().time() + self._seconds)
        return message

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            self._move_deadline(None)
            if not self._backend.ready:  # the client's next request goes to another server
                MutableHeaders(scope=message)["Connection"] = "close"
        elif not message.get("more_body", False):
            self._ended = True
        await self._send_more(message)

    async def _wait_until_gone(self) -> None:
        while (await self._receive_more())["type"] != "http.disconnect":
            pass
        if self._task is not None and not self._ended:
            self._has_gone = True
            self._task.cancel()

    async def _refuse_length(self) -> None:
        """Refuse a body that says that it is too large."""
        length = Headers(scope=self._scope).get("content-length", "0")
        if length.isdecimal() and int(length) > self._limit:
            if int(length) <= _DISCARDED:
                await self._discard()
            raise self._too_large()

    async def _discard(self) -> None:
        """Read the rest of a body: most clients read no response before they have sent it all."""
        size, more = 0, True
        while more and size < _DISCARDED:
            message = await self._receive_more()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)

    async def _respond(self, error: ServeError) -> None:
        if not self._started:
            response = respond(error, self._scope["path"])
            await response(self._scope, self._receive_more, self._send_more)

    def _too_large(self) -> ServeError:
        return ServeError(
            413,
            f"The body of the request has more than {self._limit:,} bytes. Send less at once, or "
            f"start the server with a larger {self._option}.",
            code="payload_too_large",
        )

    def _too_slow(self) -> ServeError:
        seconds = f"{self._seconds:g} seconds"
        if self._gone is None:
            message = f"The body of the request did not arrive within {seconds}."
            return ServeError(408, message, code="timeout", headers={"Connection": "close"})
        return ServeError(
            504,
            f"The request took more than {seconds}. Send fewer or shorter texts, or start the "
            "server with a larger --request-timeout.",
            code="timeout",
        )


def _limit_of(path: str, config: ServeConfig) -> tuple[int, str]:
    """Return the most bytes of a body, and the option that sets them."""
    if _UPLOAD.match(path):
        return config.upload_limit + _FORM_BYTES, "--upload-limit"
    if _STORE.match(path):
        return config.store_limit, "--store-limit"
    return config.payload_limit, "--payload-limit"
