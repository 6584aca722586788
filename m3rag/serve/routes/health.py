"""`/health` and `/ready`: whether the server runs, and whether it wants requests."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from m3rag.serve.dependencies import State
from m3rag.serve.errors import ServeError

router = APIRouter(tags=["service"])


class Status(BaseModel):
    """The state of the server."""

    status: str


@router.get("/health")
async def health() -> Status:
    """Return 200 as long as the server runs. For liveness probes."""
    return Status(status="ok")


@router.get("/ready")
async def ready(backend: State) -> Status:
    """Return 200 if the server wants requests, 503 while it starts or drains. For readiness."""
    if not backend.ready:
        raise ServeError(503, "The server is about to stop.", code="draining")
    return Status(status="ready")
