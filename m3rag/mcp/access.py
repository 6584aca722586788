"""Who calls the server, and what is there for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol


class Access(Protocol):
    """What a caller may do; a key of `m3rag.serve.keys` is one."""

    @property
    def write(self) -> bool:
        """Whether the caller may add documents."""
        ...

    @property
    def filter(self) -> Mapping[str, Any] | None:
        """The passages that exist for the caller; None for all."""
        ...

    @property
    def unlimited(self) -> bool:
        """Whether the caller may use all passages of all knowledge bases."""
        ...

    def allows(self, base: str, /) -> bool:
        """Return whether the caller may use a knowledge base."""
        ...


class Everything:
    """The access of the program that started the server."""

    write = True
    filter: Mapping[str, Any] | None = None
    unlimited = True

    def allows(self, base: str, /) -> bool:
        """Return True."""
        return True


Caller = Callable[[Mapping[str, str] | None], Access]
"""Returns the access of the caller with these HTTP headers; None on stdio."""


def anyone(_headers: Mapping[str, str] | None) -> Access:
    """Return the access to everything."""
    return Everything()
