"""Space that an index keeps on the disk, so that passages can be deleted on a full one."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

NAME = "reserve"
_SIZE = 8 << 20  # the log grows to half of it before it is written into the database
_LEFT = 4  # the disk needs so many times the size free for it to be taken


class Reserve:
    """The reserve of a folder.

    Args:
        folder: The folder of the index.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def keep(self) -> None:
        """Take the space if it is not taken already and there is plenty; failing is no error."""
        with suppress(OSError):
            if self._path.exists():
                return
            statistics = os.statvfs(self._path.parent)
            if statistics.f_bavail * statistics.f_frsize < _LEFT * _SIZE:
                return
            try:
                with self._path.open("xb") as file:
                    os.posix_fallocate(file.fileno(), 0, _SIZE)
            except OSError:
                self._path.unlink(missing_ok=True)

    def release(self) -> bool:
        """Give the space back, and return whether there was any."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
