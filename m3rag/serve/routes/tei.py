"""The routes of text-embeddings-inference: `/embed`, `/embed_sparse`, `/embed_all` and so on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from m3rag import __version__, service
from m3rag.encoding import Encoding
from m3rag.serve.backend import Backend
from m3rag.serve.bodies import Body, Inputs, Truncate, TruncationDirection, Weights, texts_of
from m3rag.serve.dependencies import State
from m3rag.serve.encoding import check_dimensions, check_number, encode, json_response, truncating

router = APIRouter(tags=["text-embeddings-inference"])


class EmbedBody(Body):
    """A request of text-embeddings-inference."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"inputs": ["¿Cómo riego la planta?"], "truncate": True}]}
    )

    inputs: Annotated[Inputs, Field(description="One text, or several. Token ids are refused.")]
    truncate: Truncate = False
    truncation_direction: TruncationDirection = None
    prompt_name: Annotated[None, Field(description="BGE-M3 has no prompts: leave it out.")] = None


class DenseBody(EmbedBody):
    """A request for dense vectors."""

    normalize: Annotated[
        Literal[True] | None, Field(description="The vectors always have unit length.")
    ] = None
    dimensions: Annotated[
        int | None, Field(description="The width of the vectors, which cannot be changed.")
    ] = None
    encoding_format: Annotated[
        Literal["float"] | None, Field(description="Part of OpenAI's API: use /v1/embeddings.")
    ] = None


class RerankBody(Body):
    """A request to sort texts."""

    query: str
    texts: list[str]
    truncate: Truncate = False
    truncation_direction: TruncationDirection = None
    raw_scores: Annotated[
        bool, Field(description="Scores are cosines and their like, so this changes nothing.")
    ] = False
    return_text: bool = False
    weights: Weights = "default"


class Weight(BaseModel):
    """The weight of a token."""

    index: Annotated[int, Field(description="The token id.")]
    value: float


class Rank(BaseModel):
    """A text that was sorted."""

    index: Annotated[int, Field(description="The position of the text in the request.")]
    score: float
    text: str | None = None


class Info(BaseModel):
    """The usual model and the limits of the server."""

    model_id: str
    model_sha: Annotated[str, Field(description="The model's fingerprint.")]
    model_dtype: str
    model_type: dict[str, Any]
    served_model_name: str
    max_concurrent_requests: int
    max_input_length: int
    max_client_batch_size: int
    auto_truncate: bool
    dimensions: int
    multi_vector_dimensions: int
    version: str


@router.post("/", response_model=list[list[float]])
@router.post("/embed", response_model=list[list[float]])
async def embed(body: DenseBody, backend: State) -> Response:
    """Return the dense vector of each text, of unit length."""
    check_dimensions(backend.model(), body.dimensions)
    return await _encoded(backend, body, lambda encoding: encoding.dense.tolist(), dense=True)


@router.post("/embed_sparse", response_model=list[list[Weight]])
async def embed_sparse(body: EmbedBody, backend: State) -> Response:
    """Return the learned weights of the tokens of each text, above zero."""

    def weights(encoding: Encoding) -> list[Any]:
        return [
            [{"index": token, "value": weight} for token, weight in text.items()]
            for text in encoding.sparse
        ]

    return await _encoded(backend, body, weights, sparse=True)


@router.post("/embed_all", response_model=list[list[list[float]]])
async def embed_all(body: EmbedBody, backend: State) -> Response:
    """Return the multi-vector of each text: its ColBERT vectors, one of unit length per token.

    A text of t tokens, with `<s>` and `</s>`, has t − 1 of them: `<s>` has none.
    """

    def vectors(encoding: Encoding) -> list[Any]:
        return [text.tolist() for text in encoding.colbert]

    return await _encoded(backend, body, vectors, colbert=True)


@router.post("/rerank")
async def rerank(body: RerankBody, backend: State) -> list[Rank]:
    """Sort texts by their score against a query, best first.

    The cross-encoder scores them if there is one, otherwise all three views do.
    """
    check_number(backend, body.texts)
    with truncating(body.truncate):
        ranked = await run_in_threadpool(
            service.rerank, backend.reranker(), body.query, body.texts, weights=body.weights
        )
    return [
        Rank(index=one.position, score=one.score, text=one.text if body.return_text else None)
        for one in ranked
    ]


@router.get("/info")
async def info(backend: State) -> Info:
    """Return the usual model and the limits of the server."""
    model, config = backend.model(), backend.config
    return Info(
        model_id=model.name,
        model_sha=model.fingerprint,
        model_dtype=getattr(model, "dtype", "float32"),
        model_type={"embedding": {"pooling": "cls"}},
        served_model_name=next(iter(backend.models)),
        max_concurrent_requests=config.max_concurrent_requests,
        max_input_length=getattr(model, "max_length", 8192),
        max_client_batch_size=config.max_client_batch_size,
        auto_truncate=False,
        dimensions=model.dim,
        multi_vector_dimensions=model.colbert_dim,
        version=__version__,
    )


async def _encoded(
    backend: Backend, body: EmbedBody, values: Callable[[Encoding], Any], **views: bool
) -> Response:
    """Encode the texts of a request and return the JSON of one view."""
    texts = texts_of(body.inputs)
    model = backend.model()
    encoding = await encode(backend, model, texts, truncate=body.truncate, **views)
    rows = len(texts) if "dense" in views else int(encoding.n_tokens.sum())
    return await json_response(lambda: values(encoding), rows * model.colbert_dim)
