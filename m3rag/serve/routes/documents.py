"""`/v1/kbs/{kb}/documents`: the documents of a knowledge base."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from m3rag.index import contents
from m3rag.limits import shown
from m3rag.serve.dependencies import Read
from m3rag.serve.encoding import json_response
from m3rag.serve.errors import ServeError

router = APIRouter(prefix="/v1/kbs", tags=["knowledge bases"])

_LARGE = 1 << 20  # makes json_response write a document in a thread


@router.get("/{kb}/documents")
async def list_documents(
    base: Read,
    after: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="The most documents.")] = 100,
) -> dict[str, Any]:
    """List the documents by id, a page at a time."""
    page = await run_in_threadpool(contents.documents, base.index, after=after, limit=limit)
    return page.to_dict()


@router.get("/{kb}/documents/{id:path}")
async def get_document(base: Read, id: str) -> Response:
    """Return a document with its passages, in the order of the text.

    `adds` of a passage is what it adds to the text of those before it; passages overlap.
    """
    found = await run_in_threadpool(contents.document, base.index, id)
    if found is None:
        raise ServeError(
            404, f"The knowledge base has no document {shown(id)}.", code="no_such_document"
        )
    return await json_response(found.to_dict, _LARGE)
