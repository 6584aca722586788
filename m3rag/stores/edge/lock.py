"""The lock that lets one process at a time open an index's folder.

It is the operating system's and ends with the process, however the process ends. `owner.json`
beside it records which process the error names.
"""

from __future__ import annotations

import json
import os
import sys
import time
import weakref
from contextlib import suppress
from pathlib import Path

from m3rag.errors import InUseError, StorageError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_WAIT_S = 0.5  # the process that has the folder open may be closing it right now


class Lock:
    """The lock of a folder, held until `release` or the end of the process.

    Args:
        home: The folder.

    Raises:
        InUseError: Another process has it, or this one; the message names it if it is known.
        StorageError: The lock cannot be opened.
    """

    def __init__(self, home: Path) -> None:
        start = time.monotonic()
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        try:
            descriptor = os.open(home / "lock", flags, 0o666)
        except OSError as error:
            raise StorageError(f"{home / 'lock'} cannot be opened: {error.strerror}.") from error
        while not _try_lock(descriptor):
            if time.monotonic() - start > _WAIT_S:
                os.close(descriptor)
                raise InUseError(f"{home}: {_in_use(_owner(home))}")
            time.sleep(0.02)
        self._descriptor: int | None = descriptor
        _LOCKS.add(self)
        with suppress(OSError):  # a full disk; the name is only for the message
            _owner_file(home).write_text(json.dumps({"owner": os.getpid()}))

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _in_use(owner: int | None) -> str:
    if owner == os.getpid():
        return "the index is already open in this process. Share that M3Index, or close it first."
    user = "another process" if owner is None else f"process {owner}"
    return (
        f"the index is in use by {user}. Only one process at a time can open a folder. Close the "
        "index there, or send requests to that process."
    )


def _owner(home: Path) -> int | None:
    """Return the process id in `owner.json`; None if it is missing or damaged."""
    try:
        return int(json.loads(_owner_file(home).read_bytes()[:1000])["owner"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _owner_file(home: Path) -> Path:
    return home / "owner.json"


_LOCKS: weakref.WeakSet[Lock] = weakref.WeakSet()


def _release_in_fork() -> None:
    """Close the locks in a forked process, which would hold them longer than its parent."""
    for held in list(_LOCKS):
        held.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_fork)
