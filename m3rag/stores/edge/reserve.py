"""Space that an index keeps on the disk, so that passages can be deleted on a full one."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

NAME = "reserve"
_SIZE = 8 << 20  # the log grows to half of it before it is written into the database
_PLENTY = 4  # the disk needs so many times the size free for it to be taken
_LEFT = 64 << 10  # bytes that are left to others where nearly nothing is free


class Reserve:
    """The reserve of a folder.

    Args:
        folder: The folder of the index.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def keep(self) -> None:
        """Take the space if there is plenty; failing is no error."""
        if self._free() >= _PLENTY * _SIZE:
            self._take(_SIZE)

    def keep_rest(self) -> None:
        """Take what is left of the space after a deletion, although there is little."""
        self._take(min(_SIZE, self._free() - _LEFT))

    def release(self) -> bool:
        """Give the space back, and return whether there was any."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def _free(self) -> int:
        try:
            return shutil.disk_usage(self._path.parent).free
        except OSError:
            return 0

    def _take(self, size: int) -> None:
        with suppress(OSError):
            held = self._path.stat().st_size if self._path.exists() else 0
            if held >= size or size <= 0:
                return
            try:
                with self._path.open("ab") as file:
                    _allocate(file, held, size - held)
            except OSError:
                if not held:
                    self._path.unlink(missing_ok=True)


def _allocate(file: IO[bytes], start: int, size: int) -> None:
    if sys.platform == "linux":
        os.posix_fallocate(file.fileno(), start, size)
    else:
        file.write(bytes(size))
