"""`/encode`: all three views of a text from one pass."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi.responses import Response
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from m3rag.encoding import Encoding
from m3rag.serve.bodies import Body, ModelName, Truncate, Usage
from m3rag.serve.dependencies import State
from m3rag.serve.encoding import as_base64, encode, json_response

router = APIRouter(tags=["m3rag"])


class EncodeBody(Body):
    """A request for any of the three views."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"input": ["¿Cómo riego la planta?"], "model": "small"}]}
    )

    input: Annotated[str | list[str], Field(description="One text, or several.")]
    model: ModelName = None
    dense: bool = True
    sparse: bool = True
    colbert: bool = True
    encoding_format: Annotated[
        Literal["base64", "float"],
        Field(description="base64: float16, little-endian, a row after the other."),
    ] = "base64"
    truncate: Truncate = False


class Views(BaseModel):
    """The views of one text."""

    index: int
    tokens: Annotated[int, Field(description="Encoded tokens, with `<s>` and `</s>`.")]
    truncated: bool
    dense: Annotated[
        str | list[float] | None, Field(description="One vector of unit length, of `dim` numbers.")
    ] = None
    sparse: Annotated[
        dict[str, float] | None, Field(description="The weight of each token, by its id.")
    ] = None
    colbert: Annotated[
        str | list[list[float]] | None,
        Field(description="`tokens` − 1 vectors of unit length, each of `colbert_dim` numbers."),
    ] = None


class Encoded(BaseModel):
    """The views of the texts, in their order."""

    object: Literal["list"] = "list"
    model: str
    dim: int
    colbert_dim: int
    data: list[Views]
    usage: Annotated[Usage, Field(description="The encoded tokens, with `<s>` and `</s>`.")]


@router.post("/encode", response_model=Encoded)
async def views(body: EncodeBody, backend: State) -> Response:
    """Return the dense vector, the sparse weights and the ColBERT vectors from one pass."""
    model = backend.model(body.model)
    texts = [body.input] if isinstance(body.input, str) else body.input
    encoding = await encode(
        backend,
        model,
        texts,
        dense=body.dense,
        sparse=body.sparse,
        colbert=body.colbert,
        truncate=body.truncate,
    )
    tokens = int(encoding.n_tokens.sum())

    def build() -> dict[str, Any]:
        return {
            "object": "list",
            "model": body.model or next(iter(backend.models)),
            "dim": model.dim,
            "colbert_dim": model.colbert_dim,
            "data": [_views(i, one, body.encoding_format) for i, one in enumerate(encoding)],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    width = model.colbert_dim if body.encoding_format == "float" else model.colbert_dim // 10
    return await json_response(build, tokens * width)


def _views(index: int, one: Encoding, form: str) -> dict[str, Any]:
    """Return the requested views of a text as JSON values."""
    values: dict[str, Any] = {
        "index": index,
        "tokens": int(one.n_tokens[0]),
        "truncated": bool(one.truncated[0]),
    }
    if "dense" in one.channels:
        values["dense"] = _numbers(one.dense[0], form)
    if "sparse" in one.channels:
        values["sparse"] = {str(token): weight for token, weight in one.sparse[0].items()}
    if "colbert" in one.channels:
        values["colbert"] = _numbers(one.colbert[0], form)
    return values


def _numbers(array: NDArray[Any], form: str) -> Any:
    return array.tolist() if form == "float" else as_base64(array, "<f2")
