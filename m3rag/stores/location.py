"""From a path or URL to the location of an index."""

from __future__ import annotations

import re
from pathlib import Path

from m3rag.errors import InputError
from m3rag.stores.base import Location
from m3rag.stores.edge.directory import FolderLocation
from m3rag.stores.memory import MemoryLocation

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


def locate(place: str | Path | None) -> Location:
    """Return the location that a path or URL names.

    A store beyond a folder gets its URL scheme here.

    Args:
        place: A folder, which need not exist; None for an index in memory.

    Raises:
        InputError: A URL whose scheme has no store, or an empty path.
    """
    if place is None:
        return MemoryLocation()
    if isinstance(place, str):
        if not place.strip():
            raise InputError("The path of the index is empty: pass a folder, or None for memory.")
        if url := _SCHEME.match(place):
            raise InputError(
                f"There is no store for {url[1]}:// URLs: pass a folder, or None for an index in "
                "memory."
            )
    return FolderLocation(Path(place))
