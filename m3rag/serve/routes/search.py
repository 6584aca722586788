"""`/v1/kbs/{kb}/search`: passages, with their scores and the reasons."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from m3rag.errors import InputError
from m3rag.index import Hit
from m3rag.serve.dependencies import OpenBase, Read, State
from m3rag.serve.encoding import check_number, json_response, truncating
from m3rag.serve.searching import SettingsBody, described

router = APIRouter(prefix="/v1/kbs", tags=["knowledge bases"])

_NUMBERS = 4_000  # about as many as an explanation has


class SearchBody(SettingsBody):
    """A query, or several."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": "¿Cómo riego la planta?", "k": 3, "weights": "cross-lingual"},
                {"queries": ["Wo steht der Farn?", "Which plants like sun?"], "explain": True},
            ]
        }
    )

    query: Annotated[str | None, Field(description="The query, in any language.")] = None
    queries: Annotated[
        list[str] | None, Field(description="Several queries, which are encoded together.")
    ] = None


@router.post("/{kb}/search")
async def search(base: Read, body: SearchBody, backend: State) -> Response:
    """Return the passages with the highest scores, best first.

    For a `query`, the response is `{"hits": […]}`; for `queries`, `{"results": [{"hits": […]}]}`.
    A hit has `score`, the score of each channel (null if the search did not need it), `passage`
    and `matched`; with `explain` also `explanation`: the share of each channel, the matched and the
    aligned tokens, and the best sentence.
    """
    if (body.query is None) == (body.queries is None):
        raise InputError("Send either `query` or `queries`.")
    queries = [body.query] if body.query is not None else body.queries or []
    check_number(backend, queries)
    with truncating(allowed=True):
        found = await base.index.asearch_many(queries, body.k, settings=body.settings())
        results = await run_in_threadpool(_results, base, body, found)
    answer = results[0] if body.query is not None else {"results": results}
    size = sum(map(len, found)) * (_NUMBERS if body.explain else 1)
    return await json_response(lambda: answer, size)


def _results(
    base: OpenBase, body: SearchBody, found: list[list[Hit]]
) -> list[dict[str, list[dict[str, Any]]]]:
    return [
        {"hits": described(base.index, hits, neighbours=body.neighbours, explain=body.explain)}
        for hits in found
    ]
