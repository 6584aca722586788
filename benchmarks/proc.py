"""Read the memory of a process from /proc. Linux only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def status(field: str, process: int | str = "self") -> int:
    """Return a figure of a process's status, in units of 1024 bytes.

    Args:
        field: The name of the figure, such as "VmRSS".
        process: The process id; "self" is this process.

    Raises:
        RuntimeError: The system has no such figure.
    """
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/{process}/status has no {field}. This benchmark needs Linux.")


def peak(task: Callable[[], object]) -> tuple[int, int]:
    """Run a task and return this process's memory before it and at its peak.

    Both are in units of 1024 bytes. The peak includes the task's result.
    """
    Path("/proc/self/clear_refs").write_text("5")  # reset VmHWM to the memory in use now
    before = status("VmRSS")
    result = task()
    highest = status("VmHWM")
    del result
    return before, highest
