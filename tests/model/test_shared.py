"""Shared models of a process."""

import multiprocessing
import threading

import pytest

from m3rag import shared_model


def test_the_same_arguments_give_the_same_model():
    assert shared_model("tiny", dtype="float32") is shared_model("tiny", dtype="float32")
    assert shared_model("tiny", dtype="float32") is not shared_model("tiny", dtype="bfloat16")


def test_concurrent_threads_load_a_model_once():
    models, barrier = [], threading.Barrier(8)

    def load():
        barrier.wait()
        models.append(shared_model("tiny", dtype="float32", max_length=77))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(model) for model in models}) == 1


def _encode_in_child(connection):
    connection.send(shared_model("tiny", dtype="float32").encode(["soil"]).dense.tolist())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the test forks a process with threads
def test_a_forked_process_loads_its_own_model():
    expected = shared_model("tiny", dtype="float32").encode(["soil"]).dense.tolist()
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    child = fork.Process(target=_encode_in_child, args=(theirs,))
    child.start()
    assert ours.poll(30), "the child answered"
    assert ours.recv() == expected
    child.join(20)
    assert child.exitcode == 0
