"""`/v1/kbs`: which knowledge bases there are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from m3rag.serve.dependencies import Bases, Caller, OpenBase, Read, opened

router = APIRouter(prefix="/v1/kbs", tags=["knowledge bases"])


class BaseEntry(BaseModel):
    """A knowledge base in a list."""

    name: str
    passages: int
    model: Annotated[str, Field(description="The model that built it.")]
    writable: Annotated[bool, Field(description="Whether your key may add and delete documents.")]
    default: Annotated[bool, Field(description="Whether it is the only one.")]


class BaseInfo(BaseEntry):
    """A knowledge base."""

    documents: Annotated[int, Field(description="Passages of no document are one each.")]


class BaseList(BaseModel):
    """The knowledge bases that a key allows."""

    knowledge_bases: list[BaseEntry]


@router.get("")
async def list_bases(bases: Bases, key: Caller) -> BaseList:
    """List the knowledge bases that your key allows."""
    allowed = [opened(bases, name, key) for name in bases.names if key.allows(name)]
    alone = len(allowed) == 1
    entries = [await run_in_threadpool(_entry, base, key.write, alone) for base in allowed]
    return BaseList(knowledge_bases=entries)


@router.get("/{kb}")
async def get_base(base: Read, key: Caller, bases: Bases) -> BaseInfo:
    """Describe a knowledge base; reads all its passages to count the documents."""
    allowed = sum(map(key.allows, bases.names))
    entry = await run_in_threadpool(_entry, base, key.write, allowed == 1)
    named = await run_in_threadpool(base.index.documents)
    number = len(named) + entry.passages - sum(named.values())
    return BaseInfo(**entry.model_dump(), documents=number)


def _entry(base: OpenBase, writable: bool, alone: bool) -> BaseEntry:
    return BaseEntry(
        name=base.name,
        passages=base.index.count(),
        model=base.index.model.name,
        writable=writable,
        default=alone,
    )
