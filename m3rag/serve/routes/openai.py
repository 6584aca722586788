"""OpenAI's routes: `/v1/embeddings` and `/v1/models`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from m3rag.serve.bodies import Body, Inputs, ModelName, Truncate, Usage, texts_of
from m3rag.serve.dependencies import State
from m3rag.serve.encoding import as_base64, check_dimensions, encode, json_response

router = APIRouter(prefix="/v1", tags=["OpenAI"])


class EmbeddingsBody(Body):
    """A request of OpenAI's embeddings."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"input": ["¿Cómo riego la planta?"], "model": "small"}]}
    )

    input: Annotated[Inputs, Field(description="One text, or several. Token ids are refused.")]
    model: ModelName = None
    encoding_format: Annotated[
        Literal["float", "base64"], Field(description="base64: float32, little-endian.")
    ] = "float"
    dimensions: Annotated[
        int | None,
        Field(
            ge=0,
            description="The width of the vectors, which cannot be changed: see `/info`. 0, which "
            "infinity's client sends, is the model's own.",
        ),
    ] = None
    modality: Annotated[
        Literal["text"], Field(description="Part of infinity's API. Inputs are texts.")
    ] = "text"
    user: Annotated[str | None, Field(description="Part of OpenAI's API. It has no effect.")] = None
    truncate: Truncate = False


class Embedding(BaseModel):
    """The dense vector of one text."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Embeddings(BaseModel):
    """The dense vectors of the texts, in their order."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Annotated[Usage, Field(description="The encoded tokens, with `<s>` and `</s>`.")]


class ModelCard(BaseModel):
    """A model of this server."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "m3rag"


class ModelCards(BaseModel):
    """The models of this server, the usual one first."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


@router.post("/embeddings", response_model=Embeddings)
async def embeddings(body: EmbeddingsBody, backend: State) -> Response:
    """Return the dense vector of each text, of unit length."""
    model = backend.model(body.model)
    check_dimensions(model, body.dimensions or None)
    texts = texts_of(body.input)
    encoding = await encode(backend, model, texts, dense=True, truncate=body.truncate)
    tokens = int(encoding.n_tokens.sum())

    def build() -> dict[str, Any]:
        if body.encoding_format == "base64":
            vectors: list[Any] = [as_base64(row, "<f4") for row in encoding.dense]
        else:
            vectors = encoding.dense.tolist()
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": i, "embedding": vector}
                for i, vector in enumerate(vectors)
            ],
            "model": body.model or next(iter(backend.models)),
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    return await json_response(build, encoding.dense.size)


@router.get("/models")
async def models(backend: State) -> ModelCards:
    """Return the models of this server, and at the end its cross-encoder, if it has one."""
    names = dict.fromkeys([*backend.models, *backend.rerankers])
    return ModelCards(data=[ModelCard(id=name) for name in names])


@router.get("/models/{name:path}")
async def model(name: str, backend: State) -> ModelCard:
    """Return one model."""
    backend.reranker(name)
    return ModelCard(id=name)
