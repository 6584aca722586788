"""Lets in only callers with a key, before the body of a request is read."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from m3rag.limits import shown
from m3rag.serve.config import ServeConfig
from m3rag.serve.errors import ServeError, respond
from m3rag.serve.keys import ANYONE, Key
from m3rag.serve.listening import is_loopback

_PUBLIC = frozenset({"/health", "/ready", "/docs", "/openapi.json"})
"""What has no data and needs no key. The page is public too: it asks for a key."""

_PAGE = "/page/"


class Guard:
    """ASGI middleware that finds the key of a request, and refuses those without one.

    The key is in `scope["state"]["key"]` afterwards. Without keys, the server belongs to the
    programs of its machine: a web site in a browser there must not reach it, so the host and the
    origin of a request must be of the machine itself (DNS rebinding, cross-site requests).
    """

    def __init__(self, app: ASGIApp, config: ServeConfig) -> None:
        self._app = app
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            key = self._key(scope)
        except ServeError as error:
            await respond(error, scope["path"])(scope, receive, send)
            return
        scope.setdefault("state", {})["key"] = key
        await self._app(scope, receive, send)

    def _key(self, scope: Scope) -> Key:
        headers = Headers(scope=scope)
        if not self._config.keys:
            self._check_local(headers)
            return ANYONE
        if _is_public(scope["method"], scope["path"]):
            return ANYONE
        kind, _, rest = headers.get("authorization", "").partition(" ")
        given = rest.strip() if kind.lower() == "bearer" else " ".join((kind, rest)).strip()
        if not given:
            raise _unauthorized(
                "This server needs an API key. Send it as `Authorization: Bearer KEY`."
            )
        key = self._config.keys.find(given)
        if key is None:
            raise _unauthorized("This API key is not valid.")
        return key

    def _check_local(self, headers: Headers) -> None:
        host = _host_of(f"//{headers.get('host', '')}")
        if not is_loopback(host):
            raise ServeError(
                403,
                f"The host {shown(host)} is not this machine, and the server has no key. Call it "
                "by a loopback address, or start it with an API key.",
                code="forbidden_host",
            )
        origin = headers.get("origin")
        if origin is None or "*" in self._config.cors_allow_origin:
            return
        if origin in self._config.cors_allow_origin or is_loopback(_host_of(origin)):
            return
        raise ServeError(
            403,
            f"The web site {shown(origin)} may not call this server. Start it with "
            "--cors-allow-origin to allow it.",
            code="forbidden_origin",
        )


def _host_of(url: str) -> str:
    """Return the host of a URL; "" if it has none, or is damaged."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_public(method: str, path: str) -> bool:
    """Return whether a request needs no key."""
    return method in ("GET", "HEAD", "OPTIONS") and (
        path in _PUBLIC or path == "/" or path.startswith(_PAGE)
    )


def _unauthorized(message: str) -> ServeError:
    return ServeError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
