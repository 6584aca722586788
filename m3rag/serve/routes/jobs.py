"""`/v1/jobs/{id}`: how far a job is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from m3rag.limits import shown
from m3rag.serve.dependencies import Caller, State
from m3rag.serve.errors import ServeError

router = APIRouter(tags=["knowledge bases"])


class JobError(BaseModel):
    """Why a job failed."""

    message: str
    code: str


class JobState(BaseModel):
    """The state of a job. Once it is "done", what it added is on the disk, and searches find it."""

    id: str
    knowledge_base: str
    state: Literal["queued", "running", "done", "failed"]
    done: Annotated[int, Field(description="How many passages are stored.")]
    total: Annotated[int | None, Field(description="Of how many; null until that is known.")]
    error: JobError | None
    changes: Annotated[
        dict[str, Any] | None,
        Field(
            description="The ids of the documents, what of the file could not be read, and how "
            "many passages were added, replaced, unchanged and removed."
        ),
    ]


@router.get("/v1/jobs/{id}")
async def get_job(id: str, backend: State, key: Caller) -> JobState:
    """Return the state of a job that your key started.

    The server remembers the last thousand jobs, until it stops.
    """
    job = backend.jobs.get(id)
    if job is None or job.owner != key:
        raise ServeError(404, f"There is no job {shown(id)}.", code="no_such_job")
    return JobState(**job.to_dict())
