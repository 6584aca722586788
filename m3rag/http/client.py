"""The client of an `m3rag serve`: sends messages to one knowledge base, and receives the answers.

Every request has a time limit. A request that only reads is sent again if the connection was lost;
one that writes is not, because nobody knows whether the server has done it. A request that the
server had no time for (429) was not started, so it waits and is sent again.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx
from numpy.typing import NDArray

from m3rag import errors
from m3rag.closing import Closing
from m3rag.errors import ClosedError, FormatError, InputError, M3Error, StorageError
from m3rag.http.messages import MEDIA_TYPE, DamagedMessageError, Message, decode, encode
from m3rag.limits import brief

API_KEY = "M3RAG_API_KEY"
"""The environment variable that has the key, unless one is given."""

TIMEOUT = 120.0  # seconds for a request, with all that it waits for
_CONNECT = 5.0  # seconds
_AGAIN = (0.1, 0.5)  # seconds before a request is sent again
_BUSY = 0.5  # seconds to wait for a server that does not say how long
_MOST = 1 << 30  # bytes of an answer
_ERROR = 1 << 16  # bytes of one with an error
_KEY = re.compile(r"[!-~]+")


class Server(Closing):
    """One knowledge base of a server; any thread may use it.

    Args:
        url: The address with the name of the knowledge base, such as "http://127.0.0.1:8080/kb".
        api_key: The key; by default that of the environment variable M3RAG_API_KEY.
        timeout: The seconds for a request.

    Attributes:
        url: The address.

    Raises:
        InputError: The URL is none of a knowledge base, or the key cannot be sent.
    """

    def __init__(self, url: str, *, api_key: str | None = None, timeout: float = TIMEOUT) -> None:
        self.url = url.rstrip("/")
        base, name = _split(self.url)
        self._target = f"{base}/v1/kbs/{quote(name, safe='')}/store/"
        self._timeout = timeout
        self._headers = {"Content-Type": MEDIA_TYPE, "Accept-Encoding": "identity"}
        key = os.environ.get(API_KEY) if api_key is None else api_key
        if key:
            if not _KEY.fullmatch(key):
                raise InputError(
                    f"The API key has white space or characters that no header can have. Check "
                    f"{API_KEY}: a line that was read from a file often ends with a line break."
                )
            self._headers["Authorization"] = f"Bearer {key}"
        self._clients: dict[int, httpx.Client] = {}  # by process: a fork must not share sockets
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._clients)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def call(
        self,
        method: str,
        body: dict[str, Any] | None = None,
        arrays: Sequence[NDArray[Any]] = (),
        *,
        writes: bool = False,
        timeout: float | None = None,
    ) -> Message:
        """Send a request and return its answer.

        Args:
            method: The method of the server.
            body: Its arguments.
            arrays: The arrays of its arguments.
            writes: Whether it must not be sent again once the server may have it.
            timeout: The seconds for it, if other than those of the client.

        Raises:
            StorageError: The server cannot be reached, is too slow or busy, or failed.
            InputError: The server rejects the request or the key.
            M3Error: The error that the server reports, as the same class.
        """
        content = encode(body or {}, arrays)
        seconds = self._timeout if timeout is None else timeout
        end = time.monotonic() + seconds
        tried = 0
        while True:
            try:
                status, headers, answer = self._send(method, content, end)
            except httpx.TimeoutException as error:
                raise self._failed(error, method, seconds) from None
            except (httpx.TransportError, OSError) as error:
                unsent = isinstance(error, httpx.ConnectError)
                if (writes and not unsent) or tried == len(_AGAIN):
                    raise self._failed(error, method, seconds, writes=writes) from None
                time.sleep(_AGAIN[tried])
                tried += 1
                continue
            if status != 429:
                return self._answer(status, answer)
            pause = _pause(headers)
            if time.monotonic() + pause > end:
                raise StorageError(
                    f"{self.url} is busy: it had no time for the request within {seconds:g} "
                    "seconds. Try again later, or raise its --max-concurrent-requests."
                )
            time.sleep(pause)

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Turn what is missing or wrong in an answer into an error, where it is read.

        Raises:
            StorageError: The answer is not what this version of m3rag expects.
        """
        try:
            yield
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise StorageError(
                f"{self.url} sent an answer that this m3rag does not understand "
                f"({type(error).__name__}: {brief(error)}). Use the same version on both sides."
            ) from None

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        with self._lock:
            _close(self._clients)

    def _client(self) -> httpx.Client:
        with self._lock:
            found = self._clients.get(os.getpid())
            if found is None:
                found = httpx.Client(headers=self._headers, verify=_tls())
                self._clients[os.getpid()] = found
            return found

    def _send(self, method: str, content: bytes, end: float) -> tuple[int, httpx.Headers, bytes]:
        """Return the status, the headers and the content of a response.

        Raises:
            httpx.TimeoutException: It has not arrived in time.
            httpx.TransportError: There is no connection, or it was lost.
        """
        left = max(0.001, end - time.monotonic())
        timeout = httpx.Timeout(left, connect=min(left, _CONNECT))
        url = self._target + method
        with self._client().stream("POST", url, content=content, timeout=timeout) as response:
            most = _MOST if response.status_code == 200 else _ERROR
            received = bytearray()
            for piece in response.iter_raw():
                received += piece
                if len(received) > most:
                    raise httpx.ReadError(f"it sent more than {most:,} bytes")
                if time.monotonic() > end:
                    raise httpx.ReadTimeout("it sends too slowly")
            return response.status_code, response.headers, bytes(received)

    def _answer(self, status: int, content: bytes) -> Message:
        if status == 200:
            try:
                return decode(content)
            except DamagedMessageError as error:
                raise StorageError(
                    f"The answer of {self.url} is no message of m3rag: {error}. Check the address."
                ) from None
        message, code = _reported(content)
        if status == 413 and message is not None:
            raise InputError(f"{self.url} refuses the request: {message}")
        if status in (401, 403):
            raise InputError(
                f"{self.url} refuses the request: {message or status} Set {API_KEY} to a key with "
                "the right."
            )
        if code == "NoSuchBaseError":
            raise FormatError(f"{self.url} is no index: {message}")
        if message is None or code is None:
            raise StorageError(
                f"{self.url} answered with the status {status}, and not like m3rag serve"
                f"{f': {message}' if message else ''}. Check the address."
            )
        raise _known(code)(message)

    def _failed(
        self, error: Exception, method: str, seconds: float, *, writes: bool = False
    ) -> StorageError:
        reason = f"{type(error).__name__}: {brief(error) or 'no reason given'}"
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return StorageError(
                f"{self.url} cannot be reached ({reason}). Start the server, or check the address: "
                "m3rag serve --in KB."
            )
        if isinstance(error, httpx.TimeoutException):
            return StorageError(
                f"{self.url} did not answer {method!r} within {seconds:g} seconds. What a write "
                "asked for may have been done: repeat it when the server is less busy."
            )
        unknown = " It may or may not have done it: repeat the call." if writes else ""
        return StorageError(
            f"The connection to {self.url} was lost during {method!r} ({reason}).{unknown}"
        )


@cache
def _tls() -> ssl.SSLContext:
    """Return what checks certificates; reading them takes longer than many a request."""
    return httpx.create_ssl_context()


def _close(clients: dict[int, httpx.Client]) -> None:
    """Close the connections of this process."""
    if client := clients.pop(os.getpid(), None):
        client.close()


def _split(url: str) -> tuple[str, str]:
    """Return the server's part of the URL of a knowledge base, and the name."""
    try:
        parts = urlsplit(url)
        host = parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        host = None
    if not host or "@" in parts.netloc or parts.query or parts.fragment:
        raise InputError(
            f"{_printable(url)!r} is no address of a knowledge base. Pass one such as "
            f"http://127.0.0.1:8080/NAME, and the key in {API_KEY}."
        )
    path, _, name = parts.path.rpartition("/")
    if not name:
        raise InputError(
            f"{url} names no knowledge base. Add its name: {url}/NAME; GET {url}/v1/kbs lists them."
        )
    return f"{parts.scheme}://{parts.netloc}{path}", unquote(name)


def _printable(url: str) -> str:
    """Return a URL without what may be a password."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}…{rest.rpartition('@')[2]}" if "@" in rest else url.partition("?")[0]


def _pause(headers: httpx.Headers) -> float:
    """Return the seconds of Retry-After."""
    given = headers.get("retry-after", "")
    return max(0.05, float(given)) if given.isdecimal() else _BUSY


def _reported(content: bytes) -> tuple[str | None, str | None]:
    """Return the message and the code of an error, if it is one of `m3rag serve`."""
    try:
        error = json.loads(content)["error"]
        message, code = error["message"], error["code"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None, None
    return brief(message, 2_000), code if isinstance(code, str) else None


def _known(code: str) -> type[M3Error]:
    """Return the class of an error of the server; others are a StorageError."""
    found: object = getattr(errors, code, None)
    if isinstance(found, type) and issubclass(found, M3Error) and found is not ClosedError:
        return found
    return StorageError  # also for ClosedError: the server shuts down, but no index here is closed
