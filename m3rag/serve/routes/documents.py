"""`/v1/kbs/{kb}/documents`: the documents of a knowledge base."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from m3rag.index import M3Index, contents
from m3rag.limits import shown
from m3rag.serve.adding import TextBody, received_document
from m3rag.serve.bodies import Body
from m3rag.serve.dependencies import Caller, Read, State, Write
from m3rag.serve.encoding import json_response
from m3rag.serve.errors import ServeError

router = APIRouter(prefix="/v1/kbs", tags=["knowledge bases"])

_LARGE = 1 << 20  # makes json_response write a document in a thread
_FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "id": {"type": "string", "description": "By default the name of the file."},
        "title": {"type": "string"},
        "metadata": {"type": "string", "description": "A JSON object."},
    },
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": TextBody.model_json_schema()},
            "multipart/form-data": {"schema": _FORM},
        },
    }
}


class PageQuery(Body):
    """Which page of the documents."""

    after: Annotated[str | None, Field(description="`next` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=1000, description="The most documents.")] = 100


class StartedJob(BaseModel):
    """The job that adds a document."""

    job: Annotated[str, Field(description="Its id: `/v1/jobs/{id}` says how far it is.")]


class DeletedDocument(BaseModel):
    """What was deleted."""

    deleted: Annotated[int, Field(description="The number of passages.")]


@router.get("/{kb}/documents")
async def list_documents(base: Read, asked: Annotated[PageQuery, Query()]) -> dict[str, Any]:
    """List the documents, a page at a time; a page may have fewer than `limit`."""
    page = await run_in_threadpool(
        contents.documents, base.index, after=asked.after, limit=asked.limit
    )
    return page.to_dict()


@router.get("/{kb}/documents/{id:path}")
async def get_document(base: Read, id: str) -> Response:
    """Return a document with its passages, in the order of the text.

    `adds` of a passage is what it adds to the text of those before it; passages overlap.
    """
    found = await run_in_threadpool(_document, base.index, id)
    return await json_response(found.to_dict, _LARGE)


@router.post("/{kb}/documents", status_code=202, openapi_extra=_BODY)
async def add_document(request: Request, base: Write, backend: State, key: Caller) -> StartedJob:
    """Add a document, or replace the one with the same id: text as JSON, or a file as a form.

    Files of all formats that m3rag reads are accepted; the suffix of the name says the format. The
    name becomes the id, so it must not lead out of a folder ("../…"). Documents are added one after
    the other, by jobs; passages that have not changed are not encoded again.
    """
    new = await received_document(request, base.index, key.filter)
    job = backend.jobs.add(key, base.name, partial(new.add, base.index), len(new.content))
    return StartedJob(job=job.id)


@router.delete("/{kb}/documents/{id:path}")
async def delete_document(base: Write, id: str) -> DeletedDocument:
    """Delete a document."""
    return DeletedDocument(deleted=await run_in_threadpool(_delete, base.index, id))


def _document(index: M3Index, id: str) -> contents.WholeDocument:
    """Return a document.

    Raises:
        ServeError: There is none with this id.
    """
    found = contents.document(index, id)
    if found is None:
        raise ServeError(
            404, f"The knowledge base has no document {shown(id)}.", code="no_such_document"
        )
    return found


def _delete(index: M3Index, id: str) -> int:
    return index.delete([passage.id for passage in _document(index, id).passages])
