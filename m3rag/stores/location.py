"""The location of an index, given its path or URL."""

from __future__ import annotations

import re
from pathlib import Path

from m3rag.errors import InputError
from m3rag.stores.base import Location
from m3rag.stores.edge.directory import FolderLocation
from m3rag.stores.memory import MemoryLocation

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


def locate(place: str | Path | Location | None) -> Location:
    """Return the location that a path or URL names.

    A new kind of store adds its URL scheme here.

    Args:
        place: A folder, which need not exist; the address of an index of an `m3rag serve`, such as
            "http://127.0.0.1:8080/kb"; None for an index in memory; or a location of your own,
            which is returned as it is.

    Raises:
        InputError: There is no store for the URL's scheme, or the path is empty.
    """
    if place is None:
        return MemoryLocation()
    if isinstance(place, str):
        if not place.strip():
            raise InputError(
                "The path of the index is empty. Pass a folder, or None for an index in memory."
            )
        if url := _SCHEME.match(place):
            if url[1].lower() in ("http", "https"):
                from m3rag.stores.remote.location import RemoteLocation  # imports httpx

                return RemoteLocation(place)
            raise InputError(
                f"There is no store for {url[1]}:// URLs. Pass a folder, the http:// address of an "
                "`m3rag serve`, or None for an index in memory."
            )
    if isinstance(place, str | Path):
        return FolderLocation(Path(place))
    return place
