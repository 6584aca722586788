"""Processes that parse documents, so that none can take the memory or the time of this one.

Each parses one document at a time. A process starts with a document for which no other is free, in
about 0.2 s, and exits when it has nothing to do for 30 s. There are as many as threads that read,
up to a few: one for each core. A document that takes too long, or crashes its parser, costs its
process: the next document starts another one.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from m3rag.documents.formats.content import Budget, Content
from m3rag.documents.formats.registry import Format
from m3rag.documents.parser_messages import (
    CLOCK,
    TIMEOUT_STATUS,
    pack_budget,
    receive,
    send,
    unpack,
)
from m3rag.documents.parsing import damaged, too_much_memory, too_slow
from m3rag.errors import DocumentError, MissingExtraError
from m3rag.threads import cores

MOST = min(cores(), 4)
"""The most parser processes of this process."""
_EXIT_SECONDS = 2
_FRESH_SECONDS = 20  # after which a process that did nothing may be about to exit
_TIMEOUTS = (-getattr(signal, "SIGALRM", 0), -getattr(signal, "SIGPROF", 0), TIMEOUT_STATUS)


def parse_apart(data: bytes, form: Format, budget: Budget) -> Content:
    """Parse a document in a parser process.

    Raises:
        DocumentError: The content is damaged, encrypted or too large, or its parser reaches a
            limit or crashes. The message does not name the file.
        MissingExtraError: A library of the parser is not installed or cannot be imported.
    """
    with _POOL.parser() as parser:
        return parser.parse(data, form, budget)


def interrupt(threads: Iterable[threading.Thread]) -> None:
    """End what threads are parsing: their calls raise `Interrupted`."""
    _POOL.interrupt({thread.ident for thread in threads})


def close() -> None:
    """End all parser processes; the next document starts one."""
    _POOL.close()


class Interrupted(BaseException):
    """The parser process was ended on purpose. No document is at fault, so nothing handles it."""


class _Pool:
    """The parser processes of this process, of which each serves one thread at a time."""

    def __init__(self, most: int) -> None:
        self._places = threading.BoundedSemaphore(most)
        self._free: list[_Parser] = []  # the one that was used last is the last
        self._busy: dict[int, _Parser] = {}  # by thread
        self._lock = threading.Lock()  # held to change them: a parser that is ended has one user

    @contextmanager
    def parser(self) -> Iterator[_Parser]:
        """Wait for a parser that no other thread uses."""
        with self._places:
            with self._lock:
                parser = self._free.pop() if self._free else _Parser()
                self._busy[threading.get_ident()] = parser
            try:
                yield parser
            finally:
                with self._lock:
                    del self._busy[threading.get_ident()]
                    self._free.append(parser)

    def interrupt(self, threads: Collection[int | None]) -> None:
        """End what threads are parsing."""
        with self._lock:
            for thread, parser in self._busy.items():
                if thread in threads:
                    parser.interrupt()

    def close(self) -> None:
        """End all processes, and with them what other threads are parsing."""
        self.interrupt(list(self._busy))
        with self._lock:
            for parser in self._free:
                parser.stop()


class _Parser:
    """A parser process, which may have ended."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._used = 0.0  # when it last had something to do
        self._interrupted = False

    def parse(self, data: bytes, form: Format, budget: Budget) -> Content:
        """Send a document and receive its content."""
        request = {
            "suffix": form.suffixes[0],
            # The start of the process counts too.
            "until": time.monotonic() + CLOCK * budget.limits.reader_seconds,
            "budget": pack_budget(budget),
        }
        self._interrupted = False
        child = self._started()
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            send(child.stdin, request, data)
            answer, body = receive(child.stdout)
        except (OSError, EOFError, ValueError):
            status = self.stop()
            if self._interrupted:
                raise Interrupted from None
            raise _ended(status, budget) from None
        except BaseException:  # Ctrl-C between request and answer: the two no longer pair up
            self.stop()
            raise
        self._used = time.monotonic()
        if answer.get("last"):  # it used much memory, which it may not have given back
            self.stop()
        if "missing" in answer:
            raise MissingExtraError(answer["missing"])
        if "error" in answer:
            raise DocumentError(answer["error"])
        return unpack(answer, body)

    def stop(self) -> int:
        """End the process, if there is one, and return its exit status."""
        child = self._child
        self._child = None
        if child is None:
            return 0
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        try:
            return child.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()

    def interrupt(self) -> None:
        """End the process while another thread waits for its answer."""
        if (child := self._child) is not None:
            self._interrupted = True
            child.kill()
            child.wait()  # so that the next user of the parser does not take it for alive

    def _started(self) -> subprocess.Popen[bytes]:
        idle = time.monotonic() - self._used > _FRESH_SECONDS
        if self._child is not None and (idle or self._child.poll() is not None):
            self.stop()
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


def _ended(status: int, budget: Budget) -> DocumentError:
    """Return the error for a document whose parser process ended with a status."""
    if status in _TIMEOUTS:
        return too_slow(budget)
    # The system or an administrator kills; Rust aborts when it gets no memory.
    if status in (-getattr(signal, "SIGKILL", 0), -getattr(signal, "SIGABRT", 0)):
        return too_much_memory(budget)
    return damaged(f"its parser ended with status {status}")


def _after_fork() -> None:
    """Forget the processes of the parent, which still uses them."""
    global _POOL
    _ABANDONED.append(_POOL)
    _POOL = _Pool(MOST)


_ABANDONED: list[_Pool] = []
_POOL = _Pool(MOST)
atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
