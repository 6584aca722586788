"""The pool starts no OpenMP threads and does not change their number in other threads.

Computing threads have long time slices, so that threads that wait for them run when they wake up.
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


def thread_and_number(_: int) -> tuple[int, int]:
    return threading.get_ident(), torch.get_num_threads()


def test_each_part_runs_in_a_thread_without_openmp_threads():
    before = torch.get_num_threads()
    for thread, number in in_parts(thread_and_number, range(8)):
        assert thread != threading.get_ident()
        assert number == 1
    assert torch.get_num_threads() == before
    with ThreadPoolExecutor(1) as new:
        assert new.submit(torch.get_num_threads).result() == before


def test_parts_keep_their_order_and_errors_are_raised():
    assert in_parts(abs, range(-20, 0)) == list(range(20, 0, -1))
    assert in_parts(abs, []) == []
    with pytest.raises(ZeroDivisionError):
        in_parts(lambda part: 1 // part, [1, 0])


def test_pools_do_not_wait_for_each_other():
    other_is_done = threading.Event()

    def fill(_: int) -> bool:
        return other_is_done.wait(60)

    with ThreadPoolExecutor(1) as caller:
        busy = caller.submit(in_parts, fill, range(4 * torch.get_num_threads()), pool="m3rag-test")
        assert in_parts(abs, [-1, -2]) == [1, 2]
        other_is_done.set()
        assert all(busy.result())


def test_threads_of_a_pool_are_ready_at_its_first_use():
    pools = [f"m3rag-test-{i}" for i in range(3)]
    for pool in pools:
        in_parts(abs, [1], pool=pool)
        with ThreadPoolExecutor(1) as new:
            assert new.submit(torch.get_num_threads).result() == torch.get_num_threads()
        running = [t for t in threading.enumerate() if t.name.startswith(pool)]
        assert len(running) == torch.get_num_threads()


def test_a_forked_process_has_its_own_threads():
    in_parts(abs, [1])
    child = multiprocessing.get_context("fork").Process(target=in_parts, args=(abs, [1]))
    child.start()
    child.join(60)
    assert child.exitcode == 0


def attributes(thread: int) -> tuple[int, int]:
    """Return a thread's `nice` and its time slice in nanoseconds, 0 if Linux reports none."""
    buffer = ctypes.create_string_buffer(48)
    number = {"x86_64": 315, "aarch64": 275}[platform.machine()]
    assert ctypes.CDLL(None).syscall(number, thread, buffer, 48, 0) == 0
    _, _, _, nice, _, runtime, _, _ = struct.unpack("=IIQiIQQQ", buffer.raw)
    return nice, runtime


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_computing_threads_have_long_slices_and_keep_their_nice(fresh):
    nice, before = attributes(0)
    with ThreadPoolExecutor(1) as other:
        if not before or not other.submit(give_way).result():
            pytest.skip("this version of Linux cannot set time slices")
    for thread in [fresh._worker._thread.native_id, *in_parts(native_id, range(8))]:
        assert attributes(thread) == (nice, 20_000_000)
    assert attributes(0) == (nice, before)
    assert os.getpriority(os.PRIO_PROCESS, 0) == nice


def native_id(_: int) -> int:
    return threading.get_native_id()
