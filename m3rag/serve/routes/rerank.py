"""Cohere's and Jina's route, `/v1/rerank`, and Cohere's `/v2/rerank`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticSerializationError, to_json
from starlette.concurrency import run_in_threadpool

from m3rag import service
from m3rag.encoder import Model
from m3rag.errors import InputError
from m3rag.limits import shown
from m3rag.serve.bodies import Body, Usage, Weights
from m3rag.serve.dependencies import State
from m3rag.serve.encoding import check_number, truncating
from m3rag.serve.observing import note

if TYPE_CHECKING:
    from m3rag.model import M3CrossEncoder

router = APIRouter(tags=["Cohere and Jina"])


class RerankBody(Body):
    """A request to sort documents."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "query": "¿Cómo riego la planta?",
                    "documents": ["The pump waters the plants.", "Ferns like shade."],
                    "top_n": 1,
                }
            ]
        }
    )

    model: Annotated[
        str | None,
        Field(
            description="A model of `/v1/models`; by default the cross-encoder, if there is one, "
            "or the usual model."
        ),
    ] = None
    query: str
    documents: list[str | dict[str, Any]]
    top_n: Annotated[int | None, Field(ge=1, description="How many results; all by default.")] = (
        None
    )
    rank_fields: Annotated[
        list[str] | None,
        Field(description='The fields of a document that count, in order; ["text"] by default.'),
    ] = None
    return_documents: bool = False
    max_tokens_per_doc: Annotated[
        int | None,
        Field(ge=1, description="Cut documents after so many tokens; by default as the model."),
    ] = None
    raw_scores: Annotated[
        Literal[False], Field(description="Part of infinity's API. Scores are those of a search.")
    ] = False
    weights: Weights = "default"


class Result(BaseModel):
    """A document that was sorted."""

    index: Annotated[int, Field(description="The position of the document in the request.")]
    relevance_score: float
    document: dict[str, Any] | None = None


class Results(BaseModel):
    """The documents, best first."""

    id: str = "rerank"
    model: str
    results: list[Result]
    usage: Annotated[Usage, Field(description="The tokens of the query and the documents.")]
    meta: dict[str, Any] = {"api_version": {"version": "2"}}


@router.post("/v1/rerank", response_model_exclude_none=True)
@router.post("/v2/rerank", response_model_exclude_none=True)
async def rerank(body: RerankBody, backend: State) -> Results:
    """Sort documents by their score against a query, by the cross-encoder or all three views.

    A document is cut where the model's limit of tokens is reached.
    """
    model = backend.reranker(body.model)
    texts = [_text(document, i, body.rank_fields) for i, document in enumerate(body.documents)]
    check_number(backend, texts)
    with truncating(allowed=True):
        ranked, tokens = await run_in_threadpool(_ranked, model, body, texts)
    note(tokens=tokens)
    results = [
        Result(
            index=one.position,
            relevance_score=one.score,
            document=_returned(body, one.position) if body.return_documents else None,
        )
        for one in ranked[: body.top_n]
    ]
    return Results(
        model=body.model or next(iter(backend.rerankers)),
        results=results,
        usage=Usage(prompt_tokens=tokens, total_tokens=tokens),
    )


def _ranked(
    model: Model | M3CrossEncoder, body: RerankBody, texts: list[str]
) -> tuple[list[service.Ranked], int]:
    """Return the documents, best first, and the number of tokens."""
    spans = model.tokenizer.spans([body.query, *texts])
    most = body.max_tokens_per_doc
    if most is not None:
        texts = [
            text if len(tokens) <= most else text[: tokens[most - 1][1]]
            for text, tokens in zip(texts, spans[1:], strict=True)
        ]
        spans = [spans[0], *(tokens[:most] for tokens in spans[1:])]
    ranked = service.rerank(model, body.query, texts, weights=body.weights)
    return ranked, sum(map(len, spans))


def _text(document: str | dict[str, Any], position: int, names: list[str] | None) -> str:
    """Return what counts of a document.

    Raises:
        InputError: A field is missing, or not a string.
    """
    if isinstance(document, str):
        return document
    parts = [document.get(name) for name in names or ["text"]]
    for name, part in zip(names or ["text"], parts, strict=True):
        if not isinstance(part, str):
            raise InputError(
                f"documents[{position}] needs the field {shown(name)} with a text, got "
                f"{shown(part)}."
            )
    return "\n".join(map(str, parts))


def _returned(body: RerankBody, position: int) -> dict[str, Any]:
    """Return a document for the response.

    Raises:
        InputError: It cannot be written as JSON.
    """
    document = body.documents[position]
    if isinstance(document, str):
        return {"text": document}
    try:
        to_json(document)
    except PydanticSerializationError:
        raise InputError(
            f"documents[{position}] cannot be returned: a field is not valid Unicode, or is "
            "nested too deeply. Leave it out, or set `return_documents` to false."
        ) from None
    return document
