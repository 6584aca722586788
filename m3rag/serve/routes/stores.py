"""`/v1/kbs/{kb}/store/{method}`: the messages of `M3Index.open("http://…/kb")`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from m3rag.http.messages import MEDIA_TYPE
from m3rag.serve import remote_index
from m3rag.serve.dependencies import Caller, Read, check_write

router = APIRouter(tags=["knowledge bases"])


@router.post("/v1/kbs/{kb}/store/{method}", include_in_schema=False)
async def call(method: str, request: Request, base: Read, caller: Caller) -> Response:
    """Answer a message of a remote index. The protocol is m3rag's own, and changes with it."""
    if method in remote_index.WRITES:
        check_write(caller)
    content = await request.body()
    restricted = caller.filter is not None
    answer = await remote_index.answer(base.index, method, content, restricted=restricted)
    return Response(answer, media_type=MEDIA_TYPE)
