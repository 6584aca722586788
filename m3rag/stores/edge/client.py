"""The index's side of the engine process.

The engine has a process of its own because every call into qdrant-edge holds Python's GIL, for
minutes during a merge, and because a full disk kills the process that has the files mapped. Neither
may happen to the user's program.

Requests run one at a time, and waiting requests run between the messages of a long `add`. If the
engine process dies, or is killed because a request was interrupted, its owner starts a new one: the
passages are in the database, not in the engine.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import IO, Any, cast

from numpy.typing import NDArray

from m3rag.errors import ClosedError, StorageError
from m3rag.stores.edge.wire import Message, receive, send

_CLOSE_TIMEOUT_S = 60  # to flush and release the files; then the process is killed
_EXIT_TIMEOUT_S = 5  # from the last output of a process to its exit status


class EngineProcess:
    """A client that runs `m3rag.stores.edge.server` and exchanges messages with it.

    Args:
        request: The first request; its answer is `opened`.

    Raises:
        StorageError: The engine cannot run it.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        if _exiting:
            raise ClosedError("Python is shutting down: no storage engine is started any more.")
        self._owner = os.getpid()
        self._gate = threading.Lock()
        self._engine = threading.RLock()
        self._child: _Child | None = _Child(self)
        _PROCESSES.add(self)
        try:
            self.opened = self.call(request)
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int | None:
        """The id of the engine process; None if it has ended."""
        return None if self._child is None else self._child.popen.pid

    def call(self, body: dict[str, Any], arrays: Sequence[NDArray[Any]] = ()) -> Message:
        """Send a request and return its response.

        After an interrupted request the process is killed, because requests and responses no longer
        pair up.

        Raises:
            EngineError: The engine reported an error; it still runs.
            StorageError: The engine has died.
        """
        with self._turn():
            if self._child is None:
                raise StorageError("The storage engine's process has ended.")
            try:
                send(self._child.requests, body, arrays)
                answer, found = receive(self._child.answers)
            except (OSError, EOFError, ValueError) as error:
                if isinstance(error, ValueError) and not self._child.requests.closed:
                    raise  # not a pipe that was closed at the end of Python
                message = self._child.crash_message()
                self._child = None
                raise StorageError(message) from None
            except BaseException:
                self._child.kill()
                self._child = None
                raise
        if "error" in answer:
            raise EngineError(str(answer["error"]))
        return answer, found

    def close(self) -> bool:
        """Let the engine flush and exit; return whether it did."""
        if os.getpid() != self._owner:
            return False
        with self._gate, self._engine:
            child, self._child = self._child, None
            return child is not None and child.end() == 0

    def kill(self) -> None:
        """End the process at once; its files are not used again."""
        child, self._child = self._child, None
        if child is not None and os.getpid() == self._owner:
            child.kill()

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the engine alone. The holder of the gate is next, so a long `add` starves nobody."""
        try:
            with self._gate:
                self._engine.acquire()
            yield
        finally:
            with contextlib.suppress(RuntimeError):  # interrupted before it was acquired
                self._engine.release()


class EngineError(StorageError):
    """An error that the engine reported; it still runs."""


class _Child:
    """One run of the engine process and the pipes to it."""

    def __init__(self, owner: EngineProcess) -> None:
        self.stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as the process
        self.popen = subprocess.Popen(
            [sys.executable, "-P", "-m", "m3rag.stores.edge.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            start_new_session=True,  # so that Ctrl-C reaches only the user's program
        )
        self.requests = cast("Any", self.popen.stdin)
        self.answers = cast("Any", self.popen.stdout)
        self._finalizer = weakref.finalize(
            owner, _end, os.getpid(), self.popen, self.stderr
        )  # also at interpreter exit

    def end(self) -> int | None:
        """Let the process finish, wait for it, and return its exit code."""
        self._finalizer()
        return self.popen.returncode

    def kill(self) -> None:
        """End the process at once."""
        self.popen.kill()
        self.end()

    def crash_message(self) -> str:
        """Return why the process died, as far as its exit status and output tell."""
        try:
            status = self.popen.wait(_EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            status = self.popen.wait()
        self.stderr.seek(0)
        output = self.stderr.read().decode(errors="replace").strip()[-500:]
        self.end()
        reason = f"exit code {status}"
        if status < 0:
            reason = f"signal {-status}, {signal.Signals(-status).name}"
        hint = " (SIGBUS usually means a full disk)" if reason.endswith("SIGBUS") else ""
        return f"The storage engine's process ended unexpectedly ({reason}{hint})." + (
            f" Its last output: {output}" if output else ""
        )


def _end(owner: int, popen: subprocess.Popen[bytes], stderr: IO[bytes]) -> None:
    assert popen.stdin is not None
    assert popen.stdout is not None
    popen.stdin.close()  # the process sees the end of its requests, flushes, and exits
    if os.getpid() == owner:
        try:
            popen.wait(_CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()
    popen.stdout.close()
    stderr.close()


_exiting = False  # set when Python shuts down


@atexit.register
def _exit() -> None:
    global _exiting
    _exiting = True


_PROCESSES: weakref.WeakSet[EngineProcess] = weakref.WeakSet()


def _close_pipes_in_fork() -> None:
    """Close the pipes in a forked process, because the engine would outlive its owner otherwise."""
    for process in list(_PROCESSES):
        child = process._child
        if child is not None:
            child.requests.close()
            child.answers.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_pipes_in_fork)
