"""The number of the last acknowledged change, in a file of its own.

SQLite recovers from a damaged or missing write-ahead log by ignoring it: the database opens as it
was some changes ago, and looks healthy. This record shows that changes are missing. It is written
after each commit and never flushed: it must survive a killed process, not a power cut.
"""

from __future__ import annotations

import json
import os
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from m3rag.errors import FormatError

NAME = "acknowledged"
_SIZE = 256  # bytes; a single write of less than a page is never torn by a killed process
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # Linux only


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What the last acknowledged change left.

    Attributes:
        change: The number of the change.
        count: The number of passages after it.
        boot: The id of the system's start; "" if it is unknown.
        identity: The identity of the database.
    """

    change: int
    count: int
    boot: str
    identity: str

    @property
    def before_reboot(self) -> bool:
        """Whether the system was started again since, so that a power cut may be the reason."""
        return bool(self.boot) and self.boot != _boot()


class Record:
    """The open file of an index.

    It has two slots, which are written in turn: if a write fails half-way, the other slot is whole.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        self._file: int | None = os.open(folder / NAME, flags, 0o666)
        self._identity = identity
        self._boot = _boot()
        self._slot = 0

    def write(self, change: int, count: int) -> None:
        """Write the number of a change after its commit.

        The change is stored in any case: if this fails, the record only knows less.
        """
        if self._file is None:
            return
        body = json.dumps(asdict(Acknowledged(change, count, self._boot, self._identity)))
        line = f"{zlib.crc32(body.encode()):08x} {body}".ljust(_SIZE - 1) + "\n"
        with suppress(OSError):
            os.lseek(self._file, self._slot * _SIZE, os.SEEK_SET)
            if os.write(self._file, line.encode()) == _SIZE:
                self._slot = 1 - self._slot

    def reset(self, change: int, count: int) -> None:
        """Forget what was written before: changes were lost, and the user knows.

        Raises:
            OSError: The file cannot be changed.
        """
        if self._file is not None:
            os.ftruncate(self._file, 0)
            self.write(change, count)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def read(folder: Path) -> Acknowledged | None:
    """Return the record of a folder; None if there is none, or a power cut emptied it.

    Raises:
        FormatError: It is damaged.
        OSError: The file cannot be read.
    """
    try:
        with (folder / NAME).open("rb") as file:
            content = file.read(2 * _SIZE)
    except FileNotFoundError:
        return None
    slots = [content[start : start + _SIZE] for start in (0, _SIZE)]
    written = [slot for slot in slots if slot.strip(b"\0")]
    found = [record for slot in written if (record := _parsed(slot)) is not None]
    if written and not found:
        raise FormatError(
            f"{folder / NAME} is damaged, so changes may be missing. Run `m3rag repair --in "
            f"{folder}`."
        )
    return max(found, key=lambda record: record.change, default=None)


def _parsed(slot: bytes) -> Acknowledged | None:
    try:
        checksum, body = slot.decode().strip().split(" ", 1)
        intact = int(checksum, 16) == zlib.crc32(body.encode())
        return Acknowledged(**json.loads(body)) if intact else None
    except (ValueError, TypeError):
        return None


def _boot() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
