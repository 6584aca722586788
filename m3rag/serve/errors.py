"""Errors as responses: the status of each, and its JSON in the form that the clients know.

OpenAI's form is the usual one:

    {"error": {"message": "…", "type": "invalid_request_error", "param": null, "code": "…"}}

"code" is the name of the error in Python, such as "InputError", where it has one. The routes of
text-embeddings-inference answer in its form, `{"error": "…", "error_type": "Validation"}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from m3rag.bases import NoSuchBaseError
from m3rag.errors import (
    AnswerError,
    ClosedError,
    DocumentError,
    InputError,
    InUseError,
    M3Error,
    MissingExtraError,
    ModelMismatchError,
    StorageError,
)
from m3rag.limits import brief

_TEI_PATHS = frozenset({"/", "/embed", "/embed_all", "/embed_sparse", "/rerank", "/info"})

_STATUSES: tuple[tuple[type[M3Error], int], ...] = (  # the first class that fits
    (NoSuchBaseError, 404),
    (ClosedError, 503),
    (DocumentError, 422),
    (InputError, 400),
    (InUseError, 409),
    (ModelMismatchError, 409),
    (StorageError, 507),
    (AnswerError, 502),
    (MissingExtraError, 501),
)
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    429: "rate_limit_error",
    504: "timeout_error",
}
_TEI_TYPES = {413: "Validation", 422: "Validation", 429: "Overloaded"}
_DETAILS = {  # of FastAPI
    "There was an error parsing the body": "The body cannot be read as JSON: it is not UTF-8, has "
    "a number of thousands of digits, or is nested too deeply.",
}
_NO_OBJECT = ("dict_type", "model_attributes_type")
_LISTED = 3  # wrong values of a request in a message


class ServeError(HTTPException):
    """An error with a status of its own.

    It is an HTTPException of Starlette, so that FastAPI lets it through while it reads a body.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.code = code
        self.param = param


def add_handlers(app: FastAPI) -> None:
    """Let an app answer errors in the form of the route; bugs are left to the observer."""

    def answer(request: Request, error: Exception) -> Response:
        return respond(error, request.scope["path"])

    for kind in (M3Error, HTTPException, RequestValidationError, TimeoutError):
        app.add_exception_handler(kind, answer)


def respond(error: Exception, path: str) -> Response:
    """Return the response to a request that failed."""
    headers = getattr(error, "headers", None)
    return JSONResponse(described(error, path), _status(error), headers)


def described(error: Exception, path: str) -> dict[str, Any]:
    """Return the JSON of an error in the form of a route."""
    status = _status(error)
    message, param = _message(error, status)
    if path in _TEI_PATHS:
        kind = "Validation" if status < 429 else "Backend"
        return {"error": message, "error_type": _TEI_TYPES.get(status, kind)}
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": _code(error)}}


def _status(error: Exception) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, HTTPException):
        return error.status_code
    if isinstance(error, RequestValidationError):
        return 400 if any(e["type"] == "json_invalid" for e in error.errors()) else 422
    if isinstance(error, TimeoutError):
        return 504
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def _code(error: Exception) -> str | None:
    if isinstance(error, ServeError):
        return error.code
    return type(error).__name__ if isinstance(error, M3Error) else None


def _message(error: Exception, status: int) -> tuple[str, str | None]:
    """Return what is wrong, and the field that it is wrong with."""
    if isinstance(error, ServeError):
        return str(error.detail), error.param
    if isinstance(error, HTTPException):
        known = _DETAILS.get(error.detail)
        return known or f"{error.detail.rstrip('.')}. See /docs for the routes.", None
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, M3Error):
        return str(error), None
    if status == 504:
        return "The request took too long. Send fewer or shorter texts.", None
    return (
        "The server failed on this request. Its log has the reason, with this X-Request-ID.",
        None,
    )


def _invalid(error: RequestValidationError) -> tuple[str, str | None]:
    """Describe a body of the wrong form, without the values, which can be long or secret."""
    errors = error.errors()
    places = [".".join(str(part) for part in e["loc"][1:]) for e in errors]
    parts = [
        f"{brief(place, 80) or 'the body'}: {brief(e['msg'])}"
        for place, e in zip(places[:_LISTED], errors, strict=False)
    ]
    more = f"; and {len(errors) - _LISTED} more" if len(errors) > _LISTED else ""
    if errors and errors[0]["type"] == "json_invalid":
        return f"The body is not valid JSON: {brief(errors[0]['ctx']['error'])}.", None
    if errors and errors[0]["type"] in _NO_OBJECT and errors[0]["loc"] == ("body",):
        return (
            "The body must be a JSON object, with the header `Content-Type: application/json`.",
            None,
        )
    return f"The request is not valid. {'; '.join(parts)}{more}.", brief(places[0], 80) or None
