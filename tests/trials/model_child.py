"""Load model folders in children of one process that has imported torch; run as a module.

It reads the path of a folder per line and writes a line of JSON per folder. A child that takes too
long or too much memory is killed. The limit is one of computing time, since the machine may be busy
with other tests; a child that waits is killed after six times as long.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import IO, Any

import numpy as np

SECONDS = 10.0
BYTES = 1 << 30
TEXTS = ["soil moisture", "", "植物需要多少水? ﷺ 𠀀", "the farmer waters  the plants </s> " * 30]
_WAITING = 6 * SECONDS
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def attempt(folder: str) -> tuple[str, str]:
    """Load and use a model; return "finite", "not finite", "own" or "raw", and a message."""
    from m3rag import M3Model
    from m3rag.errors import CheckpointError, InputError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with M3Model.load(folder, dtype="float32") as model:
                found = model.encode(TEXTS)
        views = (found.dense, found.sparse.values, found.colbert.vectors)
        finite = all(np.isfinite(view).all() for view in views)
        return ("finite" if finite else "not finite"), ""
    except (CheckpointError, InputError) as error:
        return "own", str(error)
    except BaseException as error:
        return "raw", f"{type(error).__name__}: {error}"[:500]


def memory(pid: int) -> int:
    """Return the bytes that a process has in memory; 0 once it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def watch(pid: int, read: int, stack: IO[bytes]) -> dict[str, Any]:
    """Wait for a child, and return its result with its time and memory."""
    start, most, killed = time.monotonic(), 0, ""
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            break
        most = max(most, memory(pid))
        if not killed and most > BYTES:
            killed = "over memory"
            os.kill(pid, signal.SIGKILL)
        elif not killed and time.monotonic() - start > _WAITING:
            killed = "hung"
            os.kill(pid, signal.SIGUSR1)  # writes the stacks of its threads
            time.sleep(1)
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    stack.seek(0)
    kind, message = json.loads(answer) if answer else ("died", f"{status} {stack.read()!r}")
    most = max(most, usage.ru_maxrss << 10)
    if not killed and most > BYTES:
        killed = "over memory"
    if not killed and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        killed = "hung"
    seconds = usage.ru_utime + usage.ru_stime
    return {"kind": killed or kind, "message": message, "bytes": most, "seconds": seconds}


def main() -> None:
    """Serve until the end of the input."""
    import m3rag.model.model  # noqa: F401  # before the forks, so that they take no time

    for line in sys.stdin:
        read, write = os.pipe()
        with tempfile.TemporaryFile() as stack:
            pid = os.fork()
            if pid == 0:
                os.close(read)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # panics of Rust
                faulthandler.register(signal.SIGUSR1, file=stack, all_threads=True)
                resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS), int(SECONDS) + 1))
                with os.fdopen(write, "w", encoding="utf-8", errors="replace") as pipe:
                    json.dump(attempt(json.loads(line)), pipe)
                os._exit(0)
            os.close(write)
            sys.stdout.write(json.dumps(watch(pid, read, stack)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
