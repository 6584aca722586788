"""A process that parses documents, so that none can take the memory or the time of this one.

One process parses all documents, one at a time. It starts with the first document that needs it,
in about 0.2 s, and exits when it has nothing to do for 30 s. A document that takes too long, or
crashes its parser, costs that process: the next document starts another one.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time

from m3rag.documents.formats.content import Budget, Content
from m3rag.documents.formats.registry import Format
from m3rag.documents.parser_messages import (
    TIMEOUT_STATUS,
    pack_budget,
    receive,
    send,
    unpack,
)
from m3rag.documents.parsing import damaged, too_much_memory, too_slow
from m3rag.errors import DocumentError, MissingExtraError

_EXIT_SECONDS = 2
_TIMEOUTS = (-getattr(signal, "SIGALRM", 0), TIMEOUT_STATUS)


def parse_apart(data: bytes, form: Format, budget: Budget) -> Content:
    """Parse a document in the parser process.

    Raises:
        DocumentError: The content is damaged, encrypted or too large, or its parser reaches a
            limit or crashes. The message does not name the file.
        MissingExtraError: A library of the parser is not installed or cannot be imported.
    """
    return _PARSER.parse(data, form, budget)


class _Parser:
    """The parser process of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def parse(self, data: bytes, form: Format, budget: Budget) -> Content:
        """Send a document and receive its content."""
        with self._lock:
            request = {
                "suffix": form.suffixes[0],
                # The start of the process counts too.
                "until": time.monotonic() + budget.limits.reader_seconds,
                "budget": pack_budget(budget),
            }
            child = self._started()
            assert child.stdin is not None
            assert child.stdout is not None
            try:
                send(child.stdin, request, data)
                answer, body = receive(child.stdout)
            except (OSError, EOFError, ValueError):
                raise _ended(self._stop(), budget) from None
            except BaseException:  # Ctrl-C between request and answer: the two no longer pair up
                self._stop()
                raise
            if answer.get("last"):  # it used much memory, which it may not have given back
                self._stop()
        if "missing" in answer:
            raise MissingExtraError(answer["missing"])
        if "error" in answer:
            raise DocumentError(answer["error"])
        return unpack(answer, body)

    def close(self) -> None:
        """End the process, if there is one."""
        with self._lock:
            if self._child is not None:
                self._stop()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is not None:
            self._stop()  # it had nothing to do
        if self._child is None:
            # The folders to import from are those of this process: it may run from anywhere.
            path = os.pathsep.join(part for part in sys.path if part)
            try:
                self._child = subprocess.Popen(
                    [sys.executable, "-P", "-m", "m3rag.documents.parser_main"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    bufsize=0,
                    env={**os.environ, "PYTHONPATH": path},
                )
            except OSError as error:
                raise DocumentError(
                    f"the process that parses it cannot be started: {error.strerror or error}. "
                    "Free memory, or raise the limits of processes and open files."
                ) from error
        return self._child

    def _stop(self) -> int:
        """End the process and return its exit status."""
        child = self._child
        self._child = None
        assert child is not None
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        try:
            return child.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()


def _ended(status: int, budget: Budget) -> DocumentError:
    """Return the error for a document whose parser process ended with a status."""
    if status in _TIMEOUTS:
        return too_slow(budget)
    # The system or an administrator kills; Rust aborts when it gets no memory.
    if status in (-getattr(signal, "SIGKILL", 0), -getattr(signal, "SIGABRT", 0)):
        return too_much_memory(budget)
    return damaged(f"its parser ended with status {status}")


def _after_fork() -> None:
    """Forget the process of the parent, which still uses it."""
    global _PARSER
    _ABANDONED.append(_PARSER)
    _PARSER = _Parser()


_ABANDONED: list[_Parser] = []
_PARSER = _Parser()
atexit.register(lambda: _PARSER.close())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
