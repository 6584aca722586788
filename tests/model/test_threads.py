"""Any number of threads with any max_length get the single-threaded results; forks are rejected."""

import dataclasses
import itertools
import multiprocessing
import random
import threading
import time
import warnings
from concurrent.futures import Future

import numpy as np
import pytest

from m3rag import Encoding, M3Model
from m3rag.errors import ForkError
from m3rag.model import checkpoint
from m3rag.model.encoding_request import EncodingRequest
from m3rag.model.memo import Unit

# Packing only changes the order of float additions.
ROUNDING = 2e-6
LIMITS = [16, 32, 100, 300]


def equal(a, b):
    """Return whether two encodings of one text are equal up to rounding."""
    x, y = a.sparse[0], b.sparse[0]
    return (
        a.n_tokens[0] == b.n_tokens[0]
        and np.abs(a.dense - b.dense).max() < ROUNDING
        and np.abs(a.colbert[0] - b.colbert[0]).max() < ROUNDING
        and all(abs(x.get(t, 0) - y.get(t, 0)) < ROUNDING for t in x.keys() | y.keys())
    )


@pytest.mark.filterwarnings("ignore::m3rag.errors.TruncationWarning")
def test_a_hundred_threads_with_mixed_lengths(fresh):
    rng = random.Random(0)
    pieces = [p.replace("▁", " ") for p in fresh.tokens(range(300, 4000))]
    texts = ["".join(rng.choices(pieces, k=rng.choice([4, 20, 80, 400]))) for _ in range(60)]
    expected = {}
    for text in texts:
        for limit in LIMITS:
            expected[text, limit] = fresh.encode([text], max_length=limit)
    fresh._worker._memo.__init__(0)  # so that every call below is computed
    wrong, barrier = [], threading.Barrier(100)

    def encode(seed):
        rng = random.Random(seed)
        barrier.wait()
        for _ in range(20):
            text, limit = rng.choice(texts), rng.choice(LIMITS)
            if not equal(fresh.encode([text], max_length=limit), expected[text, limit]):
                wrong.append((text, limit))

    threads = [threading.Thread(target=encode, args=(seed,)) for seed in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert fresh.passes < len(expected) + 2000, "waiting calls share passes"


def _encode_in_child(model, connection):
    try:
        model.encode(["soil"])
        connection.send("encoded")
    except ForkError as error:
        connection.send(str(error))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the test forks a process with threads
def test_a_forked_process_is_rejected(fresh):
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    child = fork.Process(target=_encode_in_child, args=(fresh, theirs))
    child.start()
    assert ours.poll(20)
    assert "cannot be used in its fork" in ours.recv()
    child.join(20)
    assert child.exitcode == 0


def test_equal_detects_a_difference(fresh):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a = fresh.encode(["soil moisture " * 9], max_length=16)
        b = fresh.encode(["soil moisture " * 9], max_length=32)
    assert not equal(a, b)


@pytest.fixture
def deep(tiny_folder):
    """The bundled model with its first layer repeated, to have as many layers as BGE-M3."""
    tiny = checkpoint.read(tiny_folder)
    layers = [name for name in tiny.encoder if name.startswith("encoder.layer.0.")]
    more = {
        name.replace(".0.", f".{i}.", 1): tiny.encoder[name] for i in range(24) for name in layers
    }
    config = tiny.config | {"num_hidden_layers": 24}
    repeated = dataclasses.replace(tiny, config=config, encoder=tiny.encoder | more)
    with M3Model(repeated, dtype="float32", memo_bytes=0) as model:
        yield model


def submit_during_pass(model, monkeypatch, texts):
    """Submit "soil", and one of `texts` each time the pass checks for new requests.

    Returns the futures in order of submission, and the number of checks.
    """
    worker, should_restart = model._worker, model._worker._should_restart
    remaining, checks = iter(texts), 0
    later: list[Future[Encoding]] = []

    def submit(text):
        return worker.submit(
            EncodingRequest([Unit((text,), 64)], dense=True, sparse=True, colbert=True)
        )

    def submit_and_check():
        nonlocal checks
        checks += 1
        later.extend(map(submit, itertools.islice(remaining, 1)))
        return should_restart()

    monkeypatch.setattr(worker, "_should_restart", submit_and_check)
    first = submit("soil")
    first.result(30)
    return [first, *later], checks


def test_a_request_in_the_first_layers_joins_the_pass(deep, monkeypatch):
    alone = [deep.encode([text]) for text in ("soil", "fern", "moss")]
    before = deep.passes
    futures, checks = submit_during_pass(deep, monkeypatch, ["fern", "moss"])
    encodings = [future.result(30) for future in futures]
    assert all(equal(a, b) for a, b in zip(encodings, alone, strict=True))
    assert deep.passes == before + 1
    assert checks == 4  # two interrupted the pass after its first layer, two did not


def test_a_single_request_does_not_wait_for_others(deep, monkeypatch):
    _, checks = submit_during_pass(deep, monkeypatch, [])
    assert (deep.passes, checks) == (1, 2)


def test_a_pass_restarts_at_most_twice(deep, monkeypatch):
    futures, _ = submit_during_pass(deep, monkeypatch, ["fern", "moss", "stem", "leaf"])
    assert len([future for future in futures if future.result(30)]) == 5
    assert deep.passes == 2


def test_closing_does_not_interrupt_a_pass(deep, monkeypatch):
    worker, should_restart = deep._worker, deep._worker._should_restart
    closing = threading.Thread(target=worker.stop)

    def close_and_check():
        if closing.ident is None:
            closing.start()
        while not worker._closed:
            time.sleep(0.001)
        return should_restart()

    monkeypatch.setattr(worker, "_should_restart", close_and_check)
    assert deep.encode(["soil"]).n_tokens[0] > 2
    closing.join(30)
    assert not worker._thread.is_alive()
