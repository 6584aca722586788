"""One process at a time has an index's folder. Used only by the engine process.

The engine has a lock of its own, but lets go of it before its last data are written: whoever
loads the shard in that moment loses them (seen with qdrant-edge-py 0.9.0). This lock is the
operating system's and ends with the process, whatever ends it.

`owner.json` beside it says whom to name in the error, and whether to be patient: an engine
whose owner was killed is about to finish.
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

_LIVING_S = 0.5  # a living owner may be closing just now
_ORPHAN_S = 30.0  # an engine without owner finishes its request and flushes
_UNKNOWN_S = 2.0


def acquire(home: Path, owner: int) -> None:
    """Have the folder, for `owner`, until this process ends.

    Raises:
        EngineError: "in_use" by another process, which is named if it is known.
    """
    start = time.monotonic()
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o666)  # stays open for good
    while not _locked(descriptor):
        holder = _holder(home)
        if time.monotonic() - start > _patience(holder):
            raise EngineError("in_use", _refusal(holder, owner), fatal=True)
        time.sleep(0.02)
    _note(home).write_text(json.dumps({"owner": owner, "engine": os.getpid()}))


def _locked(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _refusal(holder: dict[str, int], owner: int) -> str:
    if holder.get("owner") == owner:
        return "this index is already open in this process: share that M3Index, or close it first."
    who = f"process {holder['owner']}" if holder else "another process"
    return (
        f"this index is in use by {who}. A folder is for one process at a time: "
        "close it there, or ask that process."
    )


def _patience(holder: dict[str, int]) -> float:
    if not holder or sys.platform == "win32":  # where signal 0 is no harmless question
        return _UNKNOWN_S
    try:
        os.kill(holder["owner"], 0)
    except ProcessLookupError:
        return _ORPHAN_S
    except PermissionError:
        pass
    return _LIVING_S


def _holder(home: Path) -> dict[str, int]:
    try:
        note = json.loads(_note(home).read_text())
        return {"owner": int(note["owner"]), "engine": int(note["engine"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _note(home: Path) -> Path:
    return home / "owner.json"
