"""`GET /`: the page, and the files that it loads from `/page/`.

The page needs no key, has no data, and loads nothing from elsewhere. Its scripts call the routes
under `/v1` with the key that the reader enters.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.resources import files

from fastapi import APIRouter, Request
from fastapi.responses import Response

from m3rag.serve.errors import ServeError

router = APIRouter(include_in_schema=False)

_FOLDER = "page"
_START = "index.html"
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
# Only what the server itself sends; and no script can turn a text into markup.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


@router.get("/")
def page(request: Request) -> Response:
    """Return the page."""
    return _file(_START, request)


@router.get("/page/{name}")
def asset(name: str, request: Request) -> Response:
    """Return a file that the page loads."""
    return _file(name, request)


def _file(name: str, request: Request) -> Response:
    """Return a file; only its status if the browser has it already."""
    found = _assets().get(name)
    if found is None:
        raise ServeError(404, "The page has no such file.")
    content, tag = found
    headers = {**_HEADERS, "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_TYPES[name.rpartition(".")[2]], headers=headers)


@cache
def _assets() -> dict[str, tuple[bytes, str]]:
    """Return the files with their tags, by name: no path of a request reaches the disk."""
    found = {}
    for file in files("m3rag.serve").joinpath(_FOLDER).iterdir():
        if file.name.rpartition(".")[2] in _TYPES:
            content = file.read_bytes()
            found[file.name] = content, f'"{sha256(content).hexdigest()[:32]}"'
    return found
