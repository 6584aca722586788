"""`/v1/kbs/{kb}/search`: passages, with their scores and the reasons."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from m3rag.errors import InputError
from m3rag.index import Hit, M3Index
from m3rag.serve.dependencies import Read, State
from m3rag.serve.encoding import check_number, json_response, truncating
from m3rag.serve.searching import SettingsBody, add_explanations

router = APIRouter(prefix="/v1/kbs", tags=["knowledge bases"])


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
        results = await run_in_threadpool(_results, base.index, body, found)
    answer = results[0] if body.query is not None else {"results": results}
    return await json_response(lambda: answer, body.numbers(sum(map(len, found))))


def _results(
    index: M3Index, body: SearchBody, found: list[list[Hit]]
) -> list[dict[str, list[dict[str, Any]]]]:
    """Return the hits of each query as JSON values; those that overlap when widened become one."""
    results = []
    for hits in found:
        widened = index.expand(hits, body.neighbours) if body.neighbours else hits
        values = [hit.to_dict() for hit in widened]
        if body.explain:
            add_explanations(values, hits)
        results.append({"hits": values})
    return results
