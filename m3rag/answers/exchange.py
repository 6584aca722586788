"""One request to a server over HTTP, within a total time and a number of bytes."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from threading import Thread
from typing import Any
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

BEGINNING = 8_192
"""The bytes of the content that are read if the status is an error."""

_PIECE = 1 << 16


class TooLargeError(Exception):
    """A server sent more bytes than the limit."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a server answered.

    Attributes:
        status: The status, such as 200.
        reason: The text after the status.
        encoding: The value of Content-Encoding; "" without one.
        body: The content; if the status is an error, what arrived in time of its beginning.
    """

    status: int
    reason: str
    encoding: str
    body: bytes


class Deadline:
    """The end of the time for everything that an exchange does."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: None is left.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


@contextmanager
def opened(
    url: str, body: bytes, headers: Mapping[str, str], *, seconds: float, most: int
) -> Iterator[HTTPResponse]:
    """Send a body to a server, and yield its response, whatever the status, while it arrives.

    Redirects are not followed. The proxies of the environment are used. A body may not be
    compressed: nothing is decompressed.

    Args:
        url: An http or https URL in ASCII.
        body: What to send.
        headers: The headers to send.
        seconds: The time for all together: to find the address, connect, send and receive.
        most: The most bytes to receive, headers included.

    Raises:
        TimeoutError: The time is over, also while the response is read.
        TooLargeError: The server sends more bytes.
        OSError, HTTPException, ValueError: The server cannot be reached, or does not speak HTTP.
    """
    deadline = Deadline(seconds)
    opener = OpenerDirector()  # with neither redirects nor exceptions for a status
    for handler in (ProxyHandler(), _Http(deadline, most), _Https(deadline, most)):
        opener.add_handler(handler)
    with opener.open(Request(url, body, dict(headers)), timeout=deadline.left()) as response:
        yield response


def whole(response: HTTPResponse) -> Response:
    """Return all of a response, whatever the status."""
    encoding = (response.headers.get("Content-Encoding") or "").strip()
    encoding = "" if encoding.lower() == "identity" else encoding
    if not 200 <= response.status < 300:
        content = _beginning(response)
    else:
        content = b"" if encoding else _content(response)
    return Response(response.status, response.reason, encoding, content)


def _content(response: HTTPResponse) -> bytes:
    content = bytearray()
    while piece := response.read(_PIECE):  # never as many at once as a header claims
        content += piece
    if response.length:
        raise HTTPException(f"it ends {response.length:,} bytes before its Content-Length")
    return bytes(content)


def _beginning(response: HTTPResponse) -> bytes:
    content = bytearray()
    try:
        while len(content) < BEGINNING and (piece := response.read(1)):
            content += piece
    except (OSError, HTTPException, ValueError, TooLargeError):
        pass  # the status says enough
    return bytes(content)


class _Connection(HTTPConnection):
    """A connection whose every operation ends at the deadline or at the limit of bytes."""

    deadline: Deadline
    _create_connection: Callable[..., socket.socket]  # of http.client, and made to be replaced

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        self.sock.settimeout(self.deadline.left())  # http.client sends headers and body in two
        super().send(data)


class _SecureConnection(_Connection, HTTPSConnection):
    """The same with TLS."""


class _Http(HTTPHandler):
    """Makes the connections of http URLs."""

    def __init__(self, deadline: Deadline, most: int) -> None:
        super().__init__()
        self._deadline = deadline
        self._most = most

    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(self._connection, req)

    def _connection(self, host: str, **options: Any) -> _Connection:
        return _limited(_Connection(host, **options), self._deadline, self._most)


class _Https(HTTPSHandler):
    """Makes the connections of https URLs."""

    def __init__(self, deadline: Deadline, most: int) -> None:
        super().__init__()
        self._deadline = deadline
        self._most = most

    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(self._connection, req)

    def _connection(self, host: str, **options: Any) -> _Connection:
        return _limited(_SecureConnection(host, **options), self._deadline, self._most)


def _limited(connection: _Connection, deadline: Deadline, most: int) -> _Connection:
    class Limited(HTTPResponse):
        def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
            super().__init__(sock, *arguments, **options)
            self.fp = io.BufferedReader(_Received(self.fp.detach(), sock, deadline, most))

    connection.deadline = deadline
    connection.response_class = Limited
    connection._create_connection = partial(_connected, deadline)
    return connection


class _Received(io.RawIOBase):
    """What a socket receives until the deadline, up to a number of bytes."""

    def __init__(
        self, raw: io.RawIOBase, sock: socket.socket, deadline: Deadline, most: int
    ) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline
        self._left = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._deadline.left())
        count: int | None = self._raw.readinto(buffer)
        self._left -= count or 0
        if self._left < 0:
            raise TooLargeError
        self._sock.settimeout(self._deadline.left())  # for what may follow: a handshake of TLS
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def _connected(deadline: Deadline, address: tuple[str, int], *_: object) -> socket.socket:
    """Return a socket that is connected to a host; each of its addresses gets a share of the time.

    Raises:
        OSError: The host has no address, or none accepts a connection in time.
    """
    addresses = _addresses(deadline, *address)
    failure: OSError | None = None
    for number, (family, kind, protocol, _, where) in enumerate(addresses):
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:  # no IPv6 here, for example
            failure = error
            continue
        try:
            sock.settimeout(deadline.left() / (len(addresses) - number))
            sock.connect(where)
            sock.settimeout(deadline.left())
            return sock
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure or OSError(f"{address[0]} has no address")


def _addresses(deadline: Deadline, host: str, port: int) -> list[Any]:
    """Return the addresses of a host; a name is looked up in a thread, which may take longer.

    Raises:
        OSError: The host is not known, or not in time.
    """
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass  # it is a name
    found: list[list[Any] | Exception] = []

    def look_up() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:  # passed on below
            found.append(error)

    thread = Thread(target=look_up, name="m3rag-look-up", daemon=True)
    thread.start()
    thread.join(deadline.left())
    if not found:
        raise TimeoutError
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]
