"""Any number of threads, any max_length: the single-threaded result. Forks are refused."""

import multiprocessing
import random
import threading
import time
import warnings

import numpy as np
import pytest

from m3rag.errors import ForkError
from m3rag.model.memo import Unit
from m3rag.model.request import Request

# Packing changes the order of float additions, nothing else.
ROUNDING = 2e-6
LIMITS = [16, 32, 100, 300]


def equal(a, b):
    """Whether two encodings of one text are the same up to rounding."""
    one, other = a.sparse[0], b.sparse[0]
    return (
        a.n_tokens[0] == b.n_tokens[0]
        and np.abs(a.dense - b.dense).max() < ROUNDING
        and np.abs(a.colbert[0] - b.colbert[0]).max() < ROUNDING
        and all(abs(one.get(t, 0) - other.get(t, 0)) < ROUNDING for t in one.keys() | other.keys())
    )


@pytest.mark.filterwarnings("ignore::m3rag.errors.TruncationWarning")
def test_a_hundred_threads_of_mixed_lengths_change_nothing(fresh):
    rng = random.Random(0)
    pieces = [p.replace("▁", " ") for p in fresh.tokens(range(300, 4000))]
    texts = ["".join(rng.choices(pieces, k=rng.choice([4, 20, 80, 400]))) for _ in range(60)]
    expected = {}
    for text in texts:
        for limit in LIMITS:
            expected[text, limit] = fresh.encode([text], max_length=limit)
    fresh._worker._memo.__init__(0)  # every call below is computed anew
    wrong, barrier = [], threading.Barrier(100)

    def ask(seed):
        own = random.Random(seed)
        barrier.wait()
        for _ in range(20):
            text, limit = own.choice(texts), own.choice(LIMITS)
            if not equal(fresh.encode([text], max_length=limit), expected[text, limit]):
                wrong.append((text, limit))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert fresh.passes < len(expected) + 2000, "waiting calls shared passes"


def _encode_in_child(model, connection):
    try:
        model.encode(["soil"])
        connection.send("encoded")
    except ForkError as error:
        connection.send(str(error))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork in a threaded process: the point
def test_a_forked_process_is_refused(fresh):
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    child = fork.Process(target=_encode_in_child, args=(fresh, theirs))
    child.start()
    assert ours.poll(20)
    assert "cannot be used in its fork" in ours.recv()
    child.join(20)
    assert child.exitcode == 0


def test_equal_is_able_to_fail(fresh):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a = fresh.encode(["soil moisture " * 9], max_length=16)
        b = fresh.encode(["soil moisture " * 9], max_length=32)
    assert not equal(a, b)


def test_who_asks_alone_is_served_at_once_and_a_crowd_together(fresh):
    worker = fresh._worker

    def ask(text):
        return worker.submit(Request([Unit((text,), 64)], dense=True, sparse=True, colbert=True))

    worker._crowd, worker._patience = 1, 60.0
    assert ask("alone").result(30).n_tokens[0] > 2
    before = worker.passes
    worker._crowd, worker._patience = 2, 60.0
    waiting = [ask("fern")]
    time.sleep(0.2)
    waiting.append(ask("moss"))
    assert all(future.result(30).n_tokens[0] > 2 for future in waiting)
    assert worker.passes == before + 1
    assert worker._crowd == 2
    assert 0 < worker._patience < 60
