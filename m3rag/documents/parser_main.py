"""The parser process: `python -m m3rag.documents.parser_main`, started by `parser_process`.

It answers each document on standard output. Timers end it when a document takes too long, even in
the middle of a parser's C code, so it needs nobody who watches it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from typing import IO, Any

from m3rag.documents.formats.registry import format_for
from m3rag.documents.parser_messages import (
    CLOCK,
    TIMEOUT_STATUS,
    pack,
    receive,
    send,
    unpack_budget,
)
from m3rag.documents.parsing import parse, too_much_memory
from m3rag.errors import DocumentError, MissingExtraError

_IDLE_SECONDS = 30
_LEAST_SECONDS = 2.0
_SIGNALS = hasattr(signal, "setitimer")
_MUCH_MEMORY = 256 << 20  # bytes after which a process is not used again


def main() -> None:
    """Answer documents until the other side is gone, or for 30 s nothing comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the other side
    with open(0, "rb", buffering=0) as requests, open(os.dup(1), "wb", buffering=0) as answers:
        os.dup2(2, 1)  # what a parser prints must not get between the messages
        while _something_comes():
            try:
                request, data = receive(requests)
            except EOFError:
                return
            if not _answer(answers, request, data):
                return


class Deadline:
    """Timers that end this process when a document has computed, or waited, for too long.

    Args:
        seconds: How long it may compute. Other processes do not count, so a document that can be
            read alone can also be read beside others.
        end: When it must be done in any case, as `time.monotonic()` counts.
    """

    def __init__(self, seconds: float, end: float) -> None:
        self._computed = time.process_time() + seconds
        self._end = end
        self._timer: threading.Timer | None = None
        self._start()

    def extend(self, seconds: float) -> None:
        """Give the document more time."""
        self._computed += seconds
        self._end += CLOCK * seconds
        self._start()

    def stop(self) -> None:
        """Stop the timers."""
        if _SIGNALS:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
        elif self._timer is not None:
            self._timer.cancel()

    def _start(self) -> None:
        self.stop()
        computing = max(self._computed - time.process_time(), 0.001)
        left = max(self._end - time.monotonic(), 0.001)
        if _SIGNALS:
            signal.setitimer(signal.ITIMER_PROF, computing)
            signal.setitimer(signal.ITIMER_REAL, left)
        else:
            self._timer = threading.Timer(min(computing, left), self._check)
            self._timer.daemon = True
            self._timer.start()

    def _check(self) -> None:
        if time.process_time() >= self._computed or time.monotonic() >= self._end:
            os._exit(TIMEOUT_STATUS)
        self._start()


def _answer(answers: IO[bytes], request: dict[str, Any], data: bytes) -> bool:
    """Parse a document and send its content; return whether this process can be used again."""
    budget = unpack_budget(request["budget"])
    _limit_memory(budget.limits.reader_bytes)
    # All processes of a system share the monotonic clock. On a system that is very busy, a start
    # that took long leaves some time for the document.
    seconds = budget.limits.reader_seconds
    end = max(request["until"], time.monotonic() + min(_LEAST_SECONDS, seconds))
    deadline = Deadline(seconds, end)
    budget = budget._replace(more_time=deadline.extend)
    body = b""
    answer: dict[str, Any]
    try:
        form = format_for(request["suffix"])
        assert form is not None  # the other side has it too
        answer, body = pack(parse(data, form, budget))
    except DocumentError as error:
        answer = {"error": str(error)}
    except MissingExtraError as error:
        answer = {"missing": str(error)}
    except MemoryError:
        answer, body = {"error": str(too_much_memory(budget))}, b""
    deadline.stop()
    _limit_memory(None)
    answer["last"] = last = _most_memory() > _MUCH_MEMORY
    send(answers, answer, body)
    return not last


def _something_comes() -> bool:
    if not _SIGNALS:  # Windows can wait for sockets only
        return True
    return bool(select.select([0], [], [], _IDLE_SECONDS)[0])


def _limit_memory(most: int | None) -> None:
    """Limit the memory of this process; only Linux counts everything that it allocates."""
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        soft = hard if most is None else int(most)
        soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _most_memory() -> int:
    """Return the most memory that this process has used so far, in bytes; 0 if unknown."""
    if sys.platform == "linux":  # getrusage starts with the memory of the parent there
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            most = next((line for line in status if line.startswith("VmHWM:")), "VmHWM: 0 kB")
        return int(most.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
