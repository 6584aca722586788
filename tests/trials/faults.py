"""Faults in the calls on the files of one folder: the Python side of `faults.c`.

The shim is compiled once per session and loaded into the programs of a trial by LD_PRELOAD. The
control file is mapped by all of them, so a fault can be set while they run:

    faults = Faults.create(tmp_path / "control", folder)
    environment = faults.environment(shim)          # for subprocess.run(..., env=environment)
    faults.set(Action.FAIL, calls=["write"], error=errno.ENOSPC, nth=3)
"""

from __future__ import annotations

import ctypes
import enum
import errno
import mmap
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")
CONTROL = "M3RAG_FAULTS"
"""The environment variable that names the control file."""

CALLS = (
    "open",
    "read",
    "write",
    "truncate",
    "allocate",
    "sync",
    "rename",
    "unlink",
    "msync",
    "mkdir",
    "link",
)
ROLES = ("main", "other")

POSSIBLE = {
    "open": (errno.EMFILE, errno.ENOSPC, errno.EIO),
    "read": (errno.EIO,),
    "write": (errno.ENOSPC, errno.EIO, errno.EDQUOT),
    "truncate": (errno.ENOSPC, errno.EIO),
    "allocate": (errno.ENOSPC, errno.EIO),
    "sync": (errno.EIO, errno.ENOSPC),
    "rename": (errno.ENOSPC, errno.EIO),
    "unlink": (errno.EIO,),
    "msync": (errno.EIO,),
    "mkdir": (errno.ENOSPC, errno.EMFILE),
    "link": (errno.ENOSPC,),
}
"""The errors that a disk gives for each call."""


class Action(enum.IntEnum):
    """What happens to a call that matches."""

    NOTHING = 0
    FAIL = 1
    SHORT = 2  # half of a read or write is done, and its length returned
    KILL_BEFORE = 3
    KILL_AFTER = 4
    KILL_TORN = 5  # half of a write is done, then the process is killed
    LOST = 6  # nothing is done, and success is returned: writes, syncs, renames, unlinks


class _Control(ctypes.Structure):
    """`struct control` of faults.c."""

    _fields_ = (
        ("action", ctypes.c_uint32),
        ("calls", ctypes.c_uint32),
        ("roles", ctypes.c_uint32),
        ("error", ctypes.c_uint32),
        ("nth", ctypes.c_uint64),
        ("span", ctypes.c_uint64),
        ("chance", ctypes.c_uint64),
        ("random", ctypes.c_uint64),
        ("matched", ctypes.c_uint64),
        ("hits", ctypes.c_uint64),
        ("main", ctypes.c_int32),
        ("logging", ctypes.c_uint32),
        ("wanted", ctypes.c_uint32),
        ("phase", ctypes.c_uint32),
        ("sequence", ctypes.c_uint64),
        ("counts", (ctypes.c_uint64 * len(CALLS)) * 2),
        ("only", ctypes.c_char * 256),
        ("folder", ctypes.c_char * 1024),
        ("log", ctypes.c_char * 1024),
        ("boot", ctypes.c_char * 256),
    )


def compiler() -> str | None:
    """Return the C compiler; None if there is none."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def build(folder: Path) -> Path:
    """Compile the shim into a folder and return its path."""
    shim = folder / "faults.so"
    if not shim.exists():
        cc = compiler()
        assert cc is not None
        command = [cc, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(shim)]
        subprocess.run([*command, str(SOURCE), "-ldl"], check=True)
    return shim


class Faults:
    """A control file: which calls fail, in which process, and how.

    Args:
        control: An existing control file; `Faults.create` makes a new one.
    """

    def __init__(self, control: Path) -> None:
        self.path = control
        with control.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._values = _Control.from_buffer(self._map)

    @classmethod
    def create(cls, control: Path, folder: Path, *, log: Path | None = None) -> Faults:
        """Make a control file for a folder, with no faults; `log` names a file for a log."""
        control.write_bytes(bytes(4096))
        faults = cls(control)
        faults._values.folder = os.fsencode(folder.resolve())
        if log is not None:
            faults._values.log = os.fsencode(log.resolve())
            faults._values.logging = 1
        return faults

    @classmethod
    def here(cls) -> Faults | None:
        """Return the control file of this process; None if it runs without the shim."""
        return cls(Path(os.environ[CONTROL])) if CONTROL in os.environ else None

    def environment(self, shim: Path) -> dict[str, str]:
        """Return the environment for a program that runs under the shim."""
        return {**os.environ, "LD_PRELOAD": str(shim), CONTROL: str(self.path)}

    def set(
        self,
        action: Action,
        *,
        calls: Sequence[str] = CALLS,
        roles: Sequence[str] = ROLES,
        error: int = errno.EIO,
        nth: int = 1,
        span: int = 1,
        chance: float = 0.0,
        seed: int = 1,
        only: str = "",
        phase: int = 0,
    ) -> None:
        """Act on calls from now on.

        Args:
            action: What happens to them.
            calls: The kinds of calls.
            roles: "main" is the process that called `claim`, "other" each other process.
            error: The errno of `FAIL`.
            nth: The first matching call to act on, from 1.
            span: The number of calls to act on; 0 for all that follow.
            chance: The probability with which each matching call is acted on, in place of `nth`.
            seed: The seed of the probability.
            only: Act only on paths that contain this text.
            phase: Act only in this phase; 0 for each.
        """
        values = self._values
        values.action = Action.NOTHING
        values.calls = sum(1 << CALLS.index(call) for call in calls)
        values.roles = sum(1 << ROLES.index(role) for role in roles)
        values.error, values.nth, values.span = error, nth, span
        values.chance = int(chance * (1 << 32))
        values.random = (seed * 0x9E3779B97F4A7C15 + 0x1234567) & ((1 << 64) - 1) or 1
        values.matched, values.hits = 0, 0
        values.only, values.wanted = os.fsencode(only), phase
        values.action = action

    def off(self) -> int:
        """End the faults and return how many calls were acted on."""
        self._values.action = Action.NOTHING
        return int(self._values.hits)

    @property
    def hits(self) -> int:
        """The number of calls that were acted on."""
        return int(self._values.hits)

    def restart(self, boot_id: Path) -> None:
        """Let programs read this file as the id of the system's start, as after a power cut."""
        self._values.boot = os.fsencode(boot_id.resolve())

    def log_off(self) -> None:
        """Record no more calls."""
        self._values.logging = 0

    def claim(self) -> None:
        """Make this process the one with the role "main"."""
        self._values.main = os.getpid()

    def begin(self, phase: int) -> None:
        """Begin a phase of the program and count its calls from 0."""
        self._values.phase = phase
        ctypes.memset(ctypes.addressof(self._values.counts), 0, ctypes.sizeof(self._values.counts))

    def counts(self) -> Mapping[tuple[str, str], int]:
        """Return the calls of this phase: `{(role, call): number}`, without those of number 0."""
        return {
            (role, call): int(n)
            for role, row in zip(ROLES, self._values.counts, strict=True)
            for call, n in zip(CALLS, row, strict=True)
            if n
        }


def mark(text: str) -> None:
    """Write a line of the program's own into the log, if the shim is loaded and logs."""
    if CONTROL in os.environ:
        ctypes.CDLL(None).m3rag_mark(text.encode())
