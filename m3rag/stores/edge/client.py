"""The index's side of the engine process.

The engine has a process of its own because every call into qdrant-edge holds Python's GIL, for
minutes during a merge, and because a full disk kills the process that has the files mapped. Neither
may happen to the user's program.

Requests run one at a time, and waiting requests run between the messages of a long `add`. If the
engine process dies, or is killed because a request was interrupted, the next request starts a new
one. Everything that was acknowledged is in the engine's write-ahead log.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from numpy.typing import NDArray

from m3rag.errors import ClosedError, FormatError, InUseError, KnowledgeBaseError, StorageError
from m3rag.stores.edge.wire import Message, receive, send

_CLOSE_TIMEOUT_S = 60  # to flush and release the files; then the process is killed, without loss
_EXIT_TIMEOUT_S = 5  # from the last output of a process to its exit status
_ERRORS: dict[str, type[KnowledgeBaseError]] = {
    "format": FormatError,
    "in_use": InUseError,
    "storage": StorageError,
}


class EngineProcess:
    """A client that runs `m3rag.stores.edge.server` for a folder and exchanges messages with it.

    Args:
        folder: The folder of the index.
        settings: The other arguments of `Shard.open`, sent with the first request.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._folder = folder
        self._settings = settings
        self._child: _Child | None = None
        self._owner = os.getpid()
        self._closed = False
        self._gate = threading.Lock()
        self._engine = threading.Lock()
        _PROCESSES.add(self)
        with self._turn():
            self._start()

    @property
    def pid(self) -> int | None:
        """The id of the engine process; None if it has died, until the next request."""
        return None if self._child is None else self._child.popen.pid

    def call(self, op: str, body: dict[str, Any], arrays: Sequence[NDArray[Any]] = ()) -> Message:
        """Send a request and return its response.

        Raises:
            StorageError: The engine failed or died, or the client is closed.
            KnowledgeBaseError: Another error that the engine process reported.
        """
        with self._turn():
            if self._child is None:
                self._start()
            return self._exchange({"op": op, **body}, arrays)

    def close(self) -> None:
        """Let the engine flush and exit; a second call does nothing."""
        if os.getpid() != self._owner:
            return
        with self._gate, self._engine:
            self._closed = True
            if self._child is not None:
                self._child.end()
                self._child = None

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the engine alone. The holder of the gate is next, so a long `add` starves nobody."""
        if os.getpid() != self._owner:
            raise StorageError(
                f"This index was opened in process {self._owner} and cannot be used in its fork "
                f"{os.getpid()}. Open it after the fork, in one process at a time."
            )
        with self._gate:
            self._engine.acquire()
        try:
            if self._closed:
                raise ClosedError("This index is closed. Open it again: M3Index.open(path).")
            yield
        finally:
            self._engine.release()

    def _start(self) -> None:
        self._child = _Child(self)
        self._exchange({"op": "open", "folder": str(self._folder), **self._settings}, ())

    def _exchange(self, body: dict[str, Any], arrays: Sequence[NDArray[Any]]) -> Message:
        assert self._child is not None
        try:
            send(self._child.requests, body, arrays)
            answer, found = receive(self._child.answers)
        except (OSError, EOFError):
            message = self._child.crash_message()
            self._child = None
            raise StorageError(f"{self._folder}: {message}") from None
        except BaseException:  # Ctrl-C between request and answer: the two no longer pair up
            self._child.kill()
            self._child = None
            raise
        if "error" not in answer:
            return answer, found
        if answer.get("fatal"):
            self._child.end()
            self._child = None
        raise _ERRORS[answer["error"]](f"{self._folder}: {answer['message']}")


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

    def end(self) -> None:
        """Let the process finish, and wait for it."""
        self._finalizer()

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
        return (
            f"the storage engine's process ended unexpectedly ({reason}{hint}). Everything "
            "acknowledged is kept, and the next request restarts the engine."
            + (f" Its last output: {output}" if output else "")
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
