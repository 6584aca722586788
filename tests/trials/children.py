"""Functions in child processes that may hang, die, or be killed, and programs under the shim."""

from __future__ import annotations

import faulthandler
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""A parent for temporary folders in memory, where a sync takes no time; None for the usual one."""


class Child:
    """A forked process that runs a function and sends lines of JSON.

    Args:
        function: Called with `say`, which sends its arguments as one line, and `args`.
        args: The other arguments.
    """

    def __init__(self, function: Callable[..., None], *args: Any) -> None:
        ends = os.pipe()  # the ends close in other programs: Python opens files so
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(ends[0])
            _run(function, ends[1], args)
        os.close(ends[1])
        self._pipe, self._rest = ends[0], b""
        self._lines: deque[bytes] = deque()
        self.status: int | None = None

    def lines(self, timeout: float) -> Iterator[list[Any]]:
        """Yield the lines that come within `timeout` seconds; `ended` says whether all came."""
        end = time.monotonic() + timeout
        while self._pipe >= 0:
            while self._lines:  # also those that a caller who stopped listening left
                yield json.loads(self._lines.popleft())
            ready, _, _ = select.select([self._pipe], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                return
            data = os.read(self._pipe, 1 << 16)
            if not data:
                self._close()
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._lines.extend(lines)

    @property
    def ended(self) -> bool:
        """Whether the process has closed its end."""
        return self._pipe < 0

    def kill(self) -> None:
        """Kill the process if it is still there, and wait for it."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self._wait()
        if self._pipe >= 0:
            self._close()

    def _close(self) -> None:
        os.close(self._pipe)
        self._pipe = -1
        if self.status is None:
            self._wait()

    def _wait(self) -> None:
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _run(function: Callable[..., None], pipe: int, args: Sequence[Any]) -> None:
    def say(*values: Any) -> None:
        os.write(pipe, json.dumps(values).encode() + b"\n")

    code = 1
    try:
        faulthandler.enable()
        function(say, *args)
        code = 0
    except BaseException:
        say("raw", traceback.format_exc()[-3000:])
    finally:
        os._exit(code)


def call(function: Callable[..., None], *args: Any, timeout: float) -> list[list[Any]]:
    """Run a function in a child; a last line ["hung"] or ["died", status] says how it failed."""
    child = Child(function, *args)
    lines = list(child.lines(timeout))
    hung = not child.ended
    child.kill()
    if hung:
        lines.append(["hung"])
    elif child.status:
        lines.append(["died", child.status])
    return lines


def children_of(pid: int) -> list[int]:
    """Return the living child processes of a process (Linux)."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                state, parent = Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)[1].split()[:2]
            except OSError:
                continue
            if int(parent) == pid and state != "Z":
                found.append(int(name))
    return found


def drive(
    module: str, *arguments: object, timeout: float, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run `python -m module …`, show what it prints, and return its last line as JSON."""
    finished = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env={**(environment or os.environ), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=timeout,
        check=False,
    )
    print(finished.stdout)  # noqa: T201  # pytest shows it if the trial fails
    assert finished.returncode == 0, finished.returncode
    figures: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return figures
