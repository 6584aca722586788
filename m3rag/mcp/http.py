"""The server over HTTP: who may call it, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from m3rag.errors import InputError
from m3rag.mcp.access import Access

PATH = "/mcp"
"""The path of the server's URL."""

_SECONDS = 5  # that running requests get to finish
_LOCAL = ("127.0.0.1", "localhost", "[::1]")


class KeyCheck:
    """Lets in only callers with a key.

    Args:
        find: Returns what a key allows; None if there is no such key.
    """

    def __init__(self, find: Callable[[str], Access | None]) -> None:
        self._find = find

    def caller(self, headers: Mapping[str, str] | None) -> Access:
        """Return what the caller with these headers may do.

        Raises:
            InputError: There is no key, or it is not valid.
        """
        kind, _, key = (headers or {}).get("authorization", "").partition(" ")
        access = self._find(key.strip()) if kind.lower() == "bearer" else None
        if access is None:
            raise InputError("Send a valid API key: `Authorization: Bearer KEY`.")
        return access

    def guard(self, app: ASGIApp) -> ASGIApp:
        """Return an app that answers 401 to callers without a key, before it reads a body."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                try:
                    self.caller(Headers(scope=scope))
                except InputError as error:
                    response = JSONResponse(
                        {"error": str(error)}, 401, {"WWW-Authenticate": "Bearer"}
                    )
                    await response(scope, receive, send)
                    return
            await app(scope, receive, send)

        return guarded


def http_app(server: MCPServer[Any], host: str, check: KeyCheck | None = None) -> ASGIApp:
    """Return the application of a server, at the path "/mcp".

    Args:
        server: The server.
        host: The address that it listens on.
        check: Lets in only callers with a key. Without it, the `Host` and `Origin` of a request
            must be those of this machine, so that no web site can call the server.
    """
    hosts = [f"{name}:*" for name in (*_LOCAL, host)]
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=check is None,
        allowed_hosts=hosts,
        allowed_origins=[f"http://{name}" for name in hosts],
    )
    # No sessions: a client goes on after a restart, and a proxy may have several servers behind it.
    app = server.streamable_http_app(
        streamable_http_path=PATH, stateless_http=True, transport_security=security, host=host
    )
    return app if check is None else check.guard(app)


class Server(uvicorn.Server):
    """Serves an application until SIGTERM or Ctrl-C; `run` then returns.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                timeout_graceful_shutdown=_SECONDS,
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                lifespan="on",
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal; unlike uvicorn, do not raise it again at the end."""
        self.force_exit = self.should_exit
        self.should_exit = True
