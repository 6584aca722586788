"""Threads: a pool that computes without OpenMP threads, longer time slices, and Python's end.

Threads may still use an index while Python shuts down, and the system may have no thread left.
Executors then raise a bare RuntimeError. The functions of this module go on instead, as long as
that is possible, with a plain thread or in the calling one.

Each thread that computes with torch gets its own OpenMP threads, which live as long as it does.
When there are more of them than cores, all of them sleep between two operations: a query takes a
third longer, or twice as long with a small model (benchmarks/speed-notes.md). So the computations
of m3rag outside its models, mainly MaxSim, start no OpenMP threads. They are split into parts for
the pool in this module.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import os
import platform
import struct
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache, partial
from typing import Generic, ParamSpec, TypeVar

from m3rag.errors import ClosedError

P = ParamSpec("P")
X = TypeVar("X")
Y = TypeVar("Y")

_SLICE = 20_000_000  # nanoseconds; the default of Linux is 0.7 to 5.6 ms, by the number of cores
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # glibc before 2.41 has no wrapper
_KEEP_POLICY = 8  # SCHED_FLAG_KEEP_POLICY


def in_parts(work: Callable[[X], Y], parts: Iterable[X], *, pool: str = "m3rag-alone") -> list[Y]:
    """Return `work(part)` for each part, in order, computed in a pool of threads.

    Parts of different pools, each with a name, do not wait for each other.

    `work` must not call `in_parts` itself, and must do no harm if it runs twice for a part: if the
    pool takes no more work, because Python shuts down or the system has no thread left, this thread
    computes all parts.
    """
    todo = list(parts)
    if not todo:
        return []
    futures: list[Future[Y]] = []
    try:
        threads = _pool(os.getpid(), pool)
        futures += (threads.submit(work, part) for part in todo)
    except RuntimeError:
        for future in futures:
            future.cancel()
        return [work(part) for part in todo]
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()


class Task(Generic[Y]):
    """A call in a thread of its own. Python waits for its end before it exits.

    Attributes:
        future: The result.
    """

    def __init__(self, call: Callable[[], Y], name: str) -> None:
        self.future: Future[Y] = Future()
        self._call = call
        self._name = name

    def start(self) -> bool:
        """Start the call; False if Python is shutting down or the system has no thread left."""
        try:
            threading.Thread(target=self._run, name=self._name, daemon=False).start()
        except RuntimeError:
            return False
        return True

    def start_or_run(self) -> None:
        """Start the call, or make it in this thread if no other can be started."""
        if not self.start():
            self._run()

    def end(self) -> None:
        """Wait for the end of the call, whatever it is; a call that has not begun never does."""
        if not self.future.cancel():
            wait([self.future])

    def _run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self._call())
        except BaseException as error:
            self.future.set_exception(error)


async def in_thread(call: Callable[P, Y], /, *args: P.args, **kwargs: P.kwargs) -> Y:
    """Run a call in a thread without blocking the event loop; `asyncio.to_thread` until the end.

    While Python shuts down, the executor of the loop takes no more calls. A thread of its own then
    runs this one.

    Raises:
        ClosedError: No thread can be started any more, or the system has none left.
    """
    import asyncio  # takes long, and the callers of it have imported it already

    bound = partial(contextvars.copy_context().run, call, *args, **kwargs)
    loop = asyncio.get_running_loop()
    try:
        future = loop.run_in_executor(None, bound)
    except RuntimeError as error:
        task = Task(bound, "m3rag-call")
        if not task.start():
            raise ClosedError(
                f"No thread can be started ({error}): Python is shutting down, or the system has "
                "none left. Wait for running calls before the program ends, or raise the limit of "
                "processes (ulimit -u)."
            ) from None
        future = asyncio.wrap_future(task.future)
    return await future


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share(total: int) -> int:
    """Return the size of a part if `total` items are shared equally between the threads."""
    import torch  # takes a second, and not every user of this module needs it

    return -(-total // torch.get_num_threads())


def give_way() -> bool:
    """Let other threads run as soon as they wake up.

    This affects the calling thread and the threads that it starts later. While a pass uses all
    cores, a thread that wakes up to submit a request or to accept a connection waits for the end of
    a time slice: 4 ms for each step, so that eight queries from eight threads missed the same pass
    (benchmarks/speed-notes.md). Since version 6.12, Linux prefers a thread with a shorter slice,
    so this function makes our slices longer. Our share of the CPU and `nice` stay the same.

    Returns:
        Whether the slices were made longer; if not, nothing has changed.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)  # of this thread
    attributes = struct.pack("=IIQiIQQQ", 48, 0, _KEEP_POLICY, nice, 0, _SLICE, 0, 0)
    failed: int = ctypes.CDLL(None).syscall(number, 0, attributes, 0)
    return not failed


@lru_cache(2)  # the pools of one process: threads do not survive a fork
def _pool(_pid: int, name: str) -> ThreadPoolExecutor:
    """Return a new pool whose threads are ready: they change a default of torch while they start.

    Raises:
        RuntimeError: The system has no thread left, or Python is shutting down.
    """
    import torch

    number = torch.get_num_threads()
    pool = ThreadPoolExecutor(number, name, partial(_use_one_thread, number))
    ready = threading.Barrier(number)
    try:
        wait([pool.submit(ready.wait) for _ in range(number)])  # one thread each
    except RuntimeError:
        ready.abort()
        raise
    return pool


def _use_one_thread(default: int) -> None:
    """Make torch use one thread in the calling thread, and `default` in threads started later."""
    import torch

    give_way()
    torch.get_num_threads()  # the first call in a thread sets its number to the default
    torch.set_num_threads(1)  # for this thread, and the default for new ones
    with contextlib.suppress(RuntimeError):  # without another thread there is no new one to set
        other = threading.Thread(target=torch.set_num_threads, args=(default,))
        other.start()
        other.join()
