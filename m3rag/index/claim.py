"""One process at a time has an index's folder. Loaded only by the engine process.

The lock is the engine's own. `owner.json` beside it only says whom to name in the error, and
whether to be patient: an engine whose owner was killed is about to finish.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import qdrant_edge as qe

from m3rag.index.engine import EngineError

_LIVING_S = 0.5  # a living owner may be closing just now
_ORPHAN_S = 30.0  # an engine without owner finishes its request and flushes
_UNKNOWN_S = 2.0


def load(home: Path, owner: int) -> Any:
    """The folder's shard, loaded; from now on it is `owner`'s.

    Raises:
        EngineError: "in_use" by another process, which is named if it is known.
    """
    start = time.monotonic()
    while True:
        try:
            shard = qe.EdgeShard.load(str(home / "edge"))
            break
        except Exception as error:
            if "WouldBlock" not in str(error) and "Can't init WAL" not in str(error):
                raise
        holder = _holder(home)
        if time.monotonic() - start > _patience(holder):
            raise EngineError("in_use", _refusal(holder, owner), fatal=True)
        time.sleep(0.05)
    _note(home).write_text(json.dumps({"owner": owner, "engine": os.getpid()}))
    return shard


def release(home: Path) -> None:
    """Forget whose it was."""
    _note(home).unlink(missing_ok=True)


def _refusal(holder: dict[str, int], owner: int) -> str:
    if holder.get("owner") == owner:
        return "this index is already open in this process: share that M3Index, or close it first."
    who = f"process {holder['owner']}" if holder else "another process"
    return (
        f"this index is in use by {who}. A folder is for one process at a time: "
        "close it there, or ask that process."
    )


def _patience(holder: dict[str, int]) -> float:
    if not holder or os.name == "nt":  # where signal 0 is no harmless question
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
