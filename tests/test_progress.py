"""Progress callbacks, which are called with (stage, done, total)."""

import pytest

from m3rag.errors import ClosedError, InputError, StorageError
from m3rag.progress import counting, silent


def test_counting_adds_up():
    reports = []
    add = counting(lambda *report: reports.append(report), "copying", 5)
    for n in (2, 3):
        add(n)
    assert reports == [("copying", 2, 5), ("copying", 5, 5)]


def test_a_callback_is_optional():
    counting(None, "copying", None)(3)
    silent("copying", 1, None)


def test_a_closed_model_and_a_closed_index_raise_the_same_error(tiny):
    from m3rag import M3Index, M3Model

    model = M3Model.load("tiny")
    index = M3Index.open(model=tiny)
    model.close()
    index.close()
    for use in (lambda: model.encode(["x"]), lambda: index.search("x"), lambda: index.add(["x"])):
        with pytest.raises(ClosedError, match="is closed"):
            use()
    assert issubclass(ClosedError, InputError)
    assert issubclass(ClosedError, StorageError)


def test_add_reports_durable_passages(tiny):
    from m3rag import M3Index

    reports = []
    with M3Index.open(model=tiny) as index:
        index.add([f"text {i}" for i in range(5)], batch=2, progress=lambda *r: reports.append(r))
    assert reports == [("adding passages", n, 5) for n in (2, 4, 5)]
