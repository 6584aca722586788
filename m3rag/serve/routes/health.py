"""`/health`, `/ready` and `/metrics`: the state of the server, for those who operate it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from m3rag.serve.dependencies import Caller, State
from m3rag.serve.errors import ServeError
from m3rag.serve.metrics import CONTENT_TYPE, Metrics

router = APIRouter(tags=["service"])


class Status(BaseModel):
    """The state of the server."""

    status: str


@router.head("/health", include_in_schema=False)
@router.get("/health")
async def health() -> Status:
    """Return 200 as long as the server runs. For liveness probes."""
    return Status(status="ok")


@router.head("/ready", include_in_schema=False)
@router.get("/ready")
async def ready(backend: State) -> Status:
    """Return 200 if the server wants requests, 503 while it starts or drains. For readiness."""
    if not backend.ready:
        raise ServeError(503, "The server is about to stop.", code="draining")
    return Status(status="ready")


@router.get("/metrics")
def metrics(request: Request, key: Caller) -> Response:
    """Return figures in Prometheus's text form: requests, the model, the knowledge bases.

    They tell of all callers and all passages, so they need a key that is not limited to some.
    """
    if not key.unlimited:
        raise ServeError(
            403,
            "The figures are those of all knowledge bases and callers, and this API key is limited "
            "to some passages. Use one without `knowledge_bases` and `filter`.",
            code="not_allowed",
        )
    figures: Metrics = request.app.state.metrics
    return Response(figures.text(), media_type=CONTENT_TYPE)
