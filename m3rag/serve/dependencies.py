"""What routes ask for in their parameters: the state of the server, and the caller's rights.

The functions are coroutines because FastAPI runs others in a thread, which takes longer than they
do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from m3rag.bases import KnowledgeBases, within
from m3rag.index import M3Index
from m3rag.limits import shown
from m3rag.serve.backend import Backend
from m3rag.serve.config import ServeConfig
from m3rag.serve.errors import ServeError
from m3rag.serve.keys import Key


@dataclass(frozen=True, slots=True)
class OpenBase:
    """A knowledge base, as the caller may use it.

    Attributes:
        name: Its name.
        index: The index, or the part of it that matches the filter of the caller's key.
    """

    name: str
    index: M3Index


def opened(bases: KnowledgeBases, name: str, key: Key) -> OpenBase:
    """Return a knowledge base that a key allows, held to the filter of the key.

    Raises:
        NoSuchBaseError: There is none of this name.
    """
    return OpenBase(name, within(bases.get(name), key.filter))


def check_write(key: Key) -> None:
    """Check that a key allows to write.

    Raises:
        ServeError: It does not.
    """
    if not key.write:
        raise ServeError(403, "This API key may only read.", code="read_only")


async def backend_of(request: Request) -> Backend:
    """Return the state of the server."""
    backend: Backend = request.app.state.backend
    return backend


async def key_of(request: Request) -> Key:
    """Return the key of the caller, which the guard has checked."""
    key: Key = request.state.key
    return key


State = Annotated[Backend, Depends(backend_of)]
"""The state of the server."""

Caller = Annotated[Key, Depends(key_of)]
"""The key of the caller."""


async def _bases(backend: State) -> KnowledgeBases:
    return backend.bases


async def _config(backend: State) -> ServeConfig:
    return backend.config


async def _read(kb: str, backend: State, key: Caller) -> OpenBase:
    if not key.allows(kb):
        raise ServeError(
            403, f"This API key may not use the knowledge base {shown(kb)}.", code="not_allowed"
        )
    return opened(backend.bases, kb, key)


async def _write(kb: str, backend: State, key: Caller) -> OpenBase:
    base = await _read(kb, backend, key)
    check_write(key)
    return base


Bases = Annotated[KnowledgeBases, Depends(_bases)]
"""All knowledge bases; `Caller` says which of them the key allows."""

Config = Annotated[ServeConfig, Depends(_config)]
"""The settings of the server."""

Read = Annotated[OpenBase, Depends(_read)]
"""The knowledge base of the path parameter `kb`, held to the filter of the caller's key."""

Write = Annotated[OpenBase, Depends(_write)]
"""The same, if the key also allows to write."""
