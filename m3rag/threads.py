"""How threads that compute get along with each other, and with those that wait for them.

Each thread that computes with torch gets OpenMP threads of its own, which stay as long as it does.
While there are more of them than cores, all of them go to sleep between two operations, and a
query to a model takes a third longer, a small model's twice as long (docs/speed.md). So what
m3rag computes beside its models, MaxSim above all, never starts any: it is cut in parts for the
threads here.
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

_SLICE = 20_000_000  # nanoseconds; Linux's own is 0.7 to 5.6 ms, by the number of cores
_SET_ATTRIBUTES = {"x86_64": 314, "aarch64": 274}  # sched_setattr(2), which has no other name
_KEEP_POLICY = 8


def in_parts(work: Callable[[X], Y], parts: Iterable[X]) -> list[Y]:
    """What `work` gives for each part, in their order; it must not call this itself."""
    return list(_pool(os.getpid()).map(work, parts))


def share(total: int) -> int:
    """How many of so many things make a part if each thread has one."""
    return -(-total // torch.get_num_threads())


def give_way() -> bool:
    """Let other threads run as soon as they wake; for this thread and those that it will start.

    While a pass has all cores, a thread that wakes to leave a request, or to accept a connection,
    waits for the end of a time slice: 4 ms for each step, and eight queries of eight threads came
    too late for one pass (docs/speed.md). From 6.12 on Linux lets one go first whose slice is
    shorter. So ours become long; our share of the processors, and `nice`, stay as they are.

    Returns:
        Whether they have; elsewhere nothing changes.
    """
    number = _SET_ATTRIBUTES.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)  # of this thread
    attributes = struct.pack("=IIQiIQQQ", 48, 0, _KEEP_POLICY, nice, 0, _SLICE, 0, 0)
    failed: int = ctypes.CDLL(None).syscall(number, 0, attributes, 0)
    return not failed


@lru_cache(1)  # threads do not survive a fork
def _pool(_pid: int) -> ThreadPoolExecutor:
    number = torch.get_num_threads()
    return ThreadPoolExecutor(number, "m3rag-alone", partial(_compute_alone, number))


def _compute_alone(others: int) -> None:
    """Make torch use this thread only, and in threads to come as many as it did."""
    give_way()
    torch.get_num_threads()  # a thread's first call of torch sets it to what is usual
    torch.set_num_threads(1)  # of this thread, and of those to come
    with ThreadPoolExecutor(1) as other:
        other.submit(torch.set_num_threads, others).result()
