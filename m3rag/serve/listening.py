"""The address that a server listens on. It needs no extra: the MCP server uses it too."""

from __future__ import annotations

import ipaddress
import socket

from m3rag.errors import InputError
from m3rag.limits import shown


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def bind(host: str, port: int, *, guarded: bool) -> socket.socket:
    """Return a socket that is bound to an address, before anything is loaded.

    Args:
        host: The address.
        port: The port; 0 for any free one.
        guarded: Whether callers need a key.

    Raises:
        InputError: The address is in use, or not one of this machine; or other machines can reach
            it, and callers need no key.
    """
    if not guarded and not is_loopback(host):
        raise InputError(
            f"Other machines can reach {shown(host)}, and the server has no key. Set M3RAG_API_KEY "
            "or pass --api-key-file; or listen on 127.0.0.1."
        )
    try:
        [(family, _, _, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        # With the protocol unnamed, asyncio leaves Nagle's algorithm on: 40 ms for each response.
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except BaseException:
            bound.close()
            raise
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not an address"
        raise InputError(
            f"The server cannot listen on {shown(host)}, port {port}: {reason}. Choose another "
            "--host or --port, or stop the program that uses this one."
        ) from None
    return bound
