"""The lock that lets one process at a time open an index's folder. Used by the engine process only.

The engine has a lock of its own, but releases it before its last data is written. A process that
loads the shard at that moment loses this data (seen with qdrant-edge-py 0.9.0). The lock here is
the operating system's and ends with the process, however the process ends.

`owner.json` beside it records which process the error names and how long to wait: an engine whose
owner was killed is about to finish.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from m3rag.stores.edge.convert import EngineError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# Seconds to wait for the lock.
_LIVING_S = 0.5  # a living owner may be closing right now
_ORPHAN_S = 30.0  # an engine without an owner finishes its request and flushes
_UNKNOWN_S = 2.0  # it is unknown whether the owner is alive


def acquire(home: Path, owner: int) -> None:
    """Lock the folder for the process `owner` until this process ends.

    Raises:
        EngineError: "in_use" by another process, which the message names if it is known.
    """
    start = time.monotonic()
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o666)  # never closed
    while not _try_lock(descriptor):
        holder = _read_holder(home)
        if time.monotonic() - start > _max_wait_s(holder):
            raise EngineError("in_use", _in_use_message(holder, owner), fatal=True)
        time.sleep(0.02)
    _owner_file(home).write_text(json.dumps({"owner": owner, "engine": os.getpid()}))


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _in_use_message(holder: dict[str, int], owner: int) -> str:
    if holder.get("owner") == owner:
        return "the index is already open in this process. Share that M3Index, or close it first."
    user = f"process {holder['owner']}" if holder else "another process"
    return (
        f"the index is in use by {user}. Only one process at a time can open a folder. Close the "
        "index there, or send requests to that process."
    )


def _max_wait_s(holder: dict[str, int]) -> float:
    if not holder or sys.platform == "win32":  # on Windows, os.kill with 0 is not harmless
        return _UNKNOWN_S
    try:
        os.kill(holder["owner"], 0)
    except ProcessLookupError:
        return _ORPHAN_S
    except PermissionError:
        pass
    return _LIVING_S


def _read_holder(home: Path) -> dict[str, int]:
    """Return the process ids in `owner.json`; empty if it is missing or damaged."""
    try:
        holder = json.loads(_owner_file(home).read_text())
        return {"owner": int(holder["owner"]), "engine": int(holder["engine"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _owner_file(home: Path) -> Path:
    return home / "owner.json"
