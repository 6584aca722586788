"""`/v1/kbs/{kb}/ask`: the passages that answer a question, and an answer written from them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse
from pydantic import ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from m3rag import service
from m3rag.answers import Answer
from m3rag.errors import InputError, M3Error
from m3rag.index import M3Index
from m3rag.serve.config import ServeConfig
from m3rag.serve.dependencies import Config, Read
from m3rag.serve.encoding import json_response, truncating
from m3rag.serve.errors import ServeError, described
from m3rag.serve.searching import SettingsBody, add_explanations
from m3rag.serve.writing import pieces
from m3rag.service import Found

if TYPE_CHECKING:
    from m3rag.model import M3CrossEncoder

router = APIRouter(prefix="/v1/kbs", tags=["knowledge bases"])

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would collect events
_EVENTS = {
    "text/event-stream": {
        "example": 'data: {"type": "hits", "question": "…", "hits": [], "answer": null}\n\n'
        'data: {"type": "token", "text": "Twice a week [1]."}\n\n'
        'data: {"type": "answer", "text": "Twice a week [1].", "citations": []}\n\n'
    }
}


class AskBody(SettingsBody):
    """A question."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"question": "¿Qué riega las plantas?", "k": 3, "weights": "cross-lingual"},
                {"question": "How often do ferns need water?", "stream": True},
            ]
        }
    )

    question: Annotated[str, Field(description="The question, in any language.")]
    llm: Annotated[
        bool | None,
        Field(
            description="Whether the server's language model writes an answer; by default if it "
            "has one."
        ),
    ] = None
    rerank: Annotated[
        bool,
        Field(
            description="Let the server's cross-encoder sort the passages found; the scores are "
            "then its own, 0 to 1."
        ),
    ] = False
    rerank_candidates: Annotated[int, Field(ge=1, description="How many passages it sorts.")] = (
        service.RERANK_CANDIDATES
    )
    stream: Annotated[
        bool, Field(description="Send server-sent events: the hits, the answer as it is written.")
    ] = False
    min_score: Annotated[
        float | None,
        Field(
            description="The score that the best passage needs; by default the one that `m3rag "
            "tune` calibrated for the weights."
        ),
    ] = None


@router.post("/{kb}/ask", responses={200: {"content": _EVENTS}})
async def ask(base: Read, body: AskBody, config: Config) -> Response:
    """Find the passages that answer a question, and let the language model answer from them.

    The response has `hits`, with `highlights` (spans of words of the question); `answer`, the best
    sentence with its place; with a limit, `min_score` and `refused`. With a language model, also
    `text`, in which "[1]" cites the first hit; `citations`; `removed`, the numbers that cited no
    passage; `quotes`, and whether the passages have them; and `supported`.

    With `stream`, the events are `hits` (all but the written answer), `token` with a `text` for
    each piece, then `answer` with everything, or `error`. The text of `answer` replaces the pieces:
    its citations are checked.
    """
    llm = _llm(config, body.llm)
    with truncating(allowed=True):
        sorts = _cross_encoder(config) if body.rerank else None
        found, values = await run_in_threadpool(_found, base.index, body, sorts)
    if body.stream:
        events = _events(found, values, llm if found.answerable else None)
        return StreamingResponse(events, media_type="text/event-stream", headers=_HEADERS)
    if llm is not None and found.answerable:
        async with aclosing(pieces(partial(found.stream, llm))) as written:
            values |= [one async for one in written if isinstance(one, Answer)][-1].to_dict()
    return await json_response(lambda: values, body.numbers(len(found.hits)))


def _llm(config: ServeConfig, wanted: bool | None) -> object | None:
    """Return the language model that writes the answer, if one shall.

    Raises:
        InputError: One is wanted, and the server has none.
    """
    if wanted and config.llm is None:
        raise InputError(
            "This server has no language model. Leave `llm` out for the best sentence, or start "
            "it with --llm-url and --llm-model."
        )
    return None if wanted is False else config.llm


def _cross_encoder(config: ServeConfig) -> M3CrossEncoder:
    """Return the cross-encoder that sorts the passages.

    Raises:
        InputError: The server has none.
    """
    if config.cross_encoder is None:
        raise InputError(
            "This server has no cross-encoder. Leave `rerank` out, or start it with "
            "--cross-encoder."
        )
    return config.cross_encoder


def _found(
    index: M3Index, body: AskBody, cross_encoder: M3CrossEncoder | None
) -> tuple[Found, dict[str, Any]]:
    """Return what answers the question, and the same as JSON values."""
    found = service.ask(
        index,
        body.question,
        body.k,
        min_score=body.min_score,
        cross_encoder=cross_encoder,
        rerank_candidates=body.rerank_candidates,
        settings=body.settings().changed(min_score=None),
    )
    hits = found.hits
    if body.neighbours:
        found = found.widened(index, body.neighbours)
    values = found.to_dict()
    if body.explain:
        add_explanations(values["hits"], hits)
    return found, values


async def _events(found: Found, values: dict[str, Any], llm: object | None) -> AsyncIterator[bytes]:
    """Yield the events of an answer."""
    yield _event("hits", values)
    written: dict[str, Any] = {}
    try:
        if llm is not None:
            async with aclosing(pieces(partial(found.stream, llm))) as parts:
                async for one in parts:
                    if isinstance(one, Answer):
                        written = one.to_dict()
                    else:
                        yield _event("token", {"text": one})
    except (M3Error, ServeError) as error:
        yield _event("error", described(error, "/v1/kbs"))
        return
    yield _event("answer", {**values, **written})


def _event(kind: str, values: dict[str, Any]) -> bytes:
    text = json.dumps({"type": kind, **values}, ensure_ascii=False, allow_nan=False)
    return f"data: {text}\n\n".encode()
