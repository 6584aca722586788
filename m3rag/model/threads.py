"""Threads that compute alone.

Each thread that computes with torch gets OpenMP threads of its own, which stay as long as it does.
While there are more of them than cores, all of them go to sleep between two operations, and a
query to a model takes a third longer, a small model's twice as long (docs/speed.md). So what
m3rag computes beside its models, MaxSim above all, never starts any: it is cut in parts for the
threads here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import TypeVar

import torch

X = TypeVar("X")
Y = TypeVar("Y")


def in_parts(work: Callable[[X], Y], parts: Iterable[X]) -> list[Y]:
    """What `work` gives for each part, in their order; it must not call this itself."""
    return list(_pool(os.getpid()).map(work, parts))


def share(total: int) -> int:
    """How many of so many things make a part if each thread has one."""
    return -(-total // torch.get_num_threads())


@lru_cache(1)  # threads do not survive a fork
def _pool(_pid: int) -> ThreadPoolExecutor:
    number = torch.get_num_threads()
    return ThreadPoolExecutor(number, "m3rag-alone", partial(_compute_alone, number))


def _compute_alone(others: int) -> None:
    """Make torch use this thread only, and in threads to come as many as it did."""
    torch.get_num_threads()  # a thread's first call of torch sets it to what is usual
    torch.set_num_threads(1)  # of this thread, and of those to come
    with ThreadPoolExecutor(1) as other:
        other.submit(torch.set_num_threads, others).result()
