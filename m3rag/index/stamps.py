"""The stamps of files, kept from one sync to the next while a folder is watched."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

_SETTLED_SECONDS = 3  # after which a change shows in the times of a file on every file system
_Stamp = tuple[str | None, int]
State = tuple[int, int, int, int, int]


class Stamps:
    """A memory of stamps: a file whose size, times and inode are as they were is not read again."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[State, _Stamp]] = {}

    def get(self, path: Path, read: Callable[[], _Stamp]) -> _Stamp:
        """Return the stamp and the size of a file.

        Args:
            path: The file.
            read: Reads the file and returns both.
        """
        before = state(path)
        known = self._known.get(path)
        if known is not None and known[0] == before:
            return known[1]
        found = read()
        if before is not None and before == state(path):
            self._known[path] = before, found
        else:
            self._known.pop(path, None)
        return found


def state(path: Path) -> State | None:
    """Return what changes with a file; None if it cannot be told, or changed just now."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    times = status.st_mtime_ns, status.st_ctime_ns
    if time.time() - max(times) / 1e9 < _SETTLED_SECONDS:
        return None
    return (*times, status.st_size, status.st_ino, status.st_dev)
