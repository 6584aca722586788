"""`/v1/kbs`: which knowledge bases there are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from m3rag.bases import within
from m3rag.serve.dependencies import Bases, Caller, OpenBase, Read

router = APIRouter(prefix="/v1/kbs", tags=["knowledge bases"])


class BaseInfo(BaseModel):
    """A knowledge base."""

    name: str
    passages: int
    documents: Annotated[int, Field(description="Passages of no document are one each.")]
    model: Annotated[str, Field(description="The model that built it.")]
    writable: Annotated[bool, Field(description="Whether your key may add and delete documents.")]
    default: Annotated[bool, Field(description="Whether it is the only one.")]


class BaseList(BaseModel):
    """The knowledge bases that a key allows."""

    knowledge_bases: list[BaseInfo]


@router.get("")
async def list_bases(bases: Bases, key: Caller) -> BaseList:
    """List the knowledge bases that your key allows; counts their passages."""
    opened = [
        OpenBase(name, within(bases.get(name), key.filter), key.filter is not None)
        for name in bases.names
        if key.allows(name)
    ]
    infos = [await run_in_threadpool(_info, one, key.write, len(opened) == 1) for one in opened]
    return BaseList(knowledge_bases=infos)


@router.get("/{kb}")
async def get_base(base: Read, key: Caller, bases: Bases) -> BaseInfo:
    """Describe a knowledge base."""
    return await run_in_threadpool(_info, base, key.write, len(bases.names) == 1)


def _info(base: OpenBase, writable: bool, alone: bool) -> BaseInfo:
    index = base.index
    passages = index.count()
    named = index.documents()
    return BaseInfo(
        name=base.name,
        passages=passages,
        documents=len(named) + passages - sum(named.values()),
        model=index.model.name,
        writable=writable,
        default=alone,
    )
