"""Any number of threads, any max_length: the single-threaded result. Forks are refused."""

import dataclasses
import itertools
import multiprocessing
import random
import threading
import warnings

import numpy as np
import pytest

from m3rag import M3Model
from m3rag.errors import ForkError
from m3rag.model import checkpoint
from m3rag.model.memo import Unit
from m3rag.model.request import EncodingRequest

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


@pytest.fixture
def deep(tiny_folder):
    """The bundled model's layers again and again: as many as BGE-M3 has."""
    tiny = checkpoint.read(tiny_folder)
    layers = [name for name in tiny.encoder if name.startswith("encoder.layer.0.")]
    more = {
        name.replace(".0.", f".{i}.", 1): tiny.encoder[name] for i in range(24) for name in layers
    }
    config = tiny.config | {"num_hidden_layers": 24}
    many = dataclasses.replace(tiny, config=config, encoder=tiny.encoder | more)
    with M3Model(many, dtype="float32", memo_bytes=0) as model:
        yield model


def followed(model, monkeypatch, texts):
    """Ask for "soil"; each time the pass looks whether others have come, the next of `texts` has.

    Returns the futures, the first one's first, and how often it looked.
    """
    worker, company = model._worker, model._worker._company
    rest, later, looks = iter(texts), [], []

    def ask(text):
        return worker.submit(
            EncodingRequest([Unit((text,), 64)], dense=True, sparse=True, colbert=True)
        )

    def looking():
        looks.append(len(looks))
        later.extend(map(ask, itertools.islice(rest, 1)))
        return company()

    monkeypatch.setattr(worker, "_company", looking)
    first = ask("soil")
    first.result(30)
    return [first, *later], len(looks)


def test_who_comes_when_a_pass_has_hardly_begun_is_in_it(deep, monkeypatch):
    alone = [deep.encode([text]) for text in ("soil", "fern", "moss")]
    before = deep.passes
    futures, looks = followed(deep, monkeypatch, ["fern", "moss"])
    assert all(equal(future.result(30), one) for future, one in zip(futures, alone, strict=True))
    assert deep.passes == before + 1
    assert looks == 4  # two ended the pass after its first layer, two let it go on


def test_who_asks_alone_is_served_at_once(deep, monkeypatch):
    _, looks = followed(deep, monkeypatch, [])
    assert (deep.passes, looks) == (1, 2)


def test_a_pass_begins_again_twice_at_most(deep, monkeypatch):
    futures, _ = followed(deep, monkeypatch, ["fern", "moss", "stem", "leaf"])
    assert len([future for future in futures if future.result(30)]) == 5
    assert deep.passes == 2


def test_closing_lets_a_pass_that_has_just_begun_go_on(deep, monkeypatch):
    worker, company = deep._worker, deep._worker._company
    monkeypatch.setattr(worker, "_company", lambda: worker.stop() or company())
    assert deep.encode(["soil"]).n_tokens[0] > 2
