"""Memory of a process, as Linux tells it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def status(field: str, process: int | str = "self") -> int:
    """A figure of a process's status, in units of 1024 bytes."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/{process}/status has no {field}: this needs Linux.")


def peak(task: Callable[[], object]) -> tuple[int, int]:
    """This process's memory before a task, and the most while it runs and its result is kept."""
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again from what is in use now
    before = status("VmRSS")
    kept = task()
    highest = status("VmHWM")
    del kept
    return before, highest
