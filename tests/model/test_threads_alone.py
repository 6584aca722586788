"""What is computed beside a model starts no OpenMP threads, and changes nobody's number of them."""

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from m3rag.model.threads import in_parts


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
