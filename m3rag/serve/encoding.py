"""Encodes the texts of requests, and writes vectors as JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from fastapi.responses import Response
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool

from m3rag.encoder import ON_TRUNCATION, Model
from m3rag.encoding import Encoding
from m3rag.errors import InputError
from m3rag.serve.backend import Backend
from m3rag.serve.errors import ServeError
from m3rag.serve.observing import note

_INLINE = 1 << 16  # numbers of a response; more are written in a thread


async def encode(
    backend: Backend,
    model: Model,
    texts: Sequence[str],
    *,
    dense: bool = False,
    sparse: bool = False,
    colbert: bool = False,
    truncate: bool = False,
) -> Encoding:
    """Encode the texts of a request; requests that wait at the same time share passes.

    Raises:
        InputError: There is no text, or one has too many tokens and may not be truncated.
        ServeError: There are too many texts.
    """
    check_number(backend, texts)
    with truncating(truncate):
        encoding = await model.aencode(texts, dense=dense, sparse=sparse, colbert=colbert)
    note(tokens=int(encoding.n_tokens.sum()))
    return encoding


def check_number(backend: Backend, texts: Sequence[str]) -> None:
    """Check the number of texts in a request, and note it.

    Raises:
        InputError: There is none.
        ServeError: There are more than `max_client_batch_size`.
    """
    if not texts:
        raise InputError("The request has no text. Send at least one.")
    most = backend.config.max_client_batch_size
    if len(texts) > most:
        raise ServeError(
            413,
            f"The request has {len(texts):,} texts, and the limit is {most:,}. Send several "
            "requests, or start the server with a larger --max-client-batch-size.",
            code="batch_too_large",
        )
    note(texts=len(texts))


def check_dimensions(model: Model, dimensions: int | None) -> None:
    """Check the width of vectors that a client asks for.

    Raises:
        InputError: It is not the model's.
    """
    if dimensions not in (None, model.dim):
        raise InputError(
            f"`dimensions` must be {model.dim:,}, the model's own, or left out, got "
            f"{dimensions:,}: BGE-M3 is not trained for parts of a vector."
        )


@contextmanager
def truncating(allowed: bool) -> Iterator[None]:
    """Cut texts that have too many tokens inside the `with` block, or refuse them."""
    before = ON_TRUNCATION.set("accept" if allowed else "refuse")
    try:
        yield
    finally:
        ON_TRUNCATION.reset(before)


async def json_response(build: Callable[[], Any], numbers: int) -> Response:
    """Return a value as a JSON response.

    Args:
        build: Returns the value. It runs in a thread if the response is large, so that writing a
            million numbers does not hold up other requests.
        numbers: About how many numbers the value has.
    """
    if numbers > _INLINE:
        return await run_in_threadpool(_written, build)
    return _written(build)


def as_base64(array: NDArray[Any], dtype: str) -> str:
    """Return an array as the base64 of its numbers, in C order and little-endian."""
    return base64.b64encode(np.ascontiguousarray(array, np.dtype(dtype)).tobytes()).decode()


def _written(build: Callable[[], Any]) -> Response:
    body = json.dumps(build(), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Response(body.encode(), media_type="application/json")
