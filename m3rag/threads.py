"""Threads that compute: a pool that starts no OpenMP threads, and longer time slices.

Each thread that computes with torch gets its own OpenMP threads, which live as long as it does.
When there are more of them than cores, all of them sleep between two operations: a query takes a
third longer, or twice as long with a small model (benchmarks/speed-notes.md). So the computations
of m3rag outside its models, mainly MaxSim, start no OpenMP threads. They are split into parts for
the pool in this module.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import TypeVar

import torch

X = TypeVar("X")
Y = TypeVar("Y")

_SLICE = 20_000_000  # nanoseconds; the default of Linux is 0.7 to 5.6 ms, by the number of cores
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # glibc before 2.41 has no wrapper
_KEEP_POLICY = 8  # SCHED_FLAG_KEEP_POLICY


def in_parts(work: Callable[[X], Y], parts: Iterable[X]) -> list[Y]:
    """Return `work(part)` for each part, in order, computed in a pool of threads.

    `work` must not call `in_parts` itself.
    """
    return list(_pool(os.getpid()).map(work, parts))


def share(total: int) -> int:
    """Return the size of a part if `total` items are shared equally between the threads."""
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


@lru_cache(1)  # one pool per process: threads do not survive a fork
def _pool(_pid: int) -> ThreadPoolExecutor:
    number = torch.get_num_threads()
    return ThreadPoolExecutor(number, "m3rag-alone", partial(_use_one_thread, number))


def _use_one_thread(default: int) -> None:
    """Make torch use one thread in the calling thread, and `default` in threads started later."""
    give_way()
    torch.get_num_threads()  # the first call in a thread sets its number to the default
    torch.set_num_threads(1)  # for this thread, and the default for new ones
    with ThreadPoolExecutor(1) as other:
        other.submit(torch.set_num_threads, default).result()
