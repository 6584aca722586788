"""What is computed beside a model starts no OpenMP threads, and changes nobody's number of them.

Threads that compute have long time slices: those who wait for them run as soon as they wake.
"""

import ctypes
import multiprocessing
import os
import platform
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from m3rag.threads import give_way, in_parts


def numbers(_: int) -> tuple[int, int]:
    return threading.get_ident(), torch.get_num_threads()


def test_each_part_in_a_thread_that_computes_alone():
    before = torch.get_num_threads()
    for thread, number in in_parts(numbers, range(8)):
        assert thread != threading.get_ident()
        assert number == 1
    assert torch.get_num_threads() == before
    with ThreadPoolExecutor(1) as new:
        assert new.submit(torch.get_num_threads).result() == before


def test_parts_keep_their_order_and_an_error_comes_back():
    assert in_parts(abs, range(-20, 0)) == list(range(20, 0, -1))
    assert in_parts(abs, []) == []
    with pytest.raises(ZeroDivisionError):
        in_parts(lambda part: 1 // part, [1, 0])


def test_a_forked_process_has_threads_of_its_own():
    in_parts(abs, [1])
    child = multiprocessing.get_context("fork").Process(target=in_parts, args=(abs, [1]))
    child.start()
    child.join(60)
    assert child.exitcode == 0


def attributes(thread: int) -> tuple[int, int]:
    """A thread's nice and the nanoseconds of its time slice, 0 where Linux tells none."""
    found = ctypes.create_string_buffer(48)
    number = {"x86_64": 315, "aarch64": 275}[platform.machine()]
    assert ctypes.CDLL(None).syscall(number, thread, found, 48, 0) == 0
    _, _, _, nice, _, runtime, _, _ = struct.unpack("=IIQiIQQQ", found.raw)
    return nice, runtime


@pytest.mark.skipif(sys.platform != "linux", reason="a system call of Linux")
def test_threads_that_compute_give_way_and_are_as_nice_as_before(fresh):
    nice, before = attributes(0)
    with ThreadPoolExecutor(1) as other:
        if not before or not other.submit(give_way).result():
            pytest.skip("this Linux has no time slices to set")
    for thread in [fresh._worker._thread.native_id, *in_parts(native_id, range(8))]:
        assert attributes(thread) == (nice, 20_000_000)
    assert attributes(0) == (nice, before)
    assert os.getpriority(os.PRIO_PROCESS, 0) == nice


def native_id(_: int) -> int:
    return threading.get_native_id()
