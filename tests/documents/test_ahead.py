"""Files that are read ahead: in order, at once, and not more than there is room for."""

import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from m3rag.documents import parser_process, read
from m3rag.documents.ahead import read_ahead
from m3rag.errors import DocumentError
from tests.trials.hostile_documents import pdf_page

SLOW = pdf_page(b"BT /F1 12 Tf " + b"(x) Tj " * 100_000 + b"ET", pages=100)


@pytest.fixture(autouse=True)
def several_readers(monkeypatch):
    monkeypatch.setattr(parser_process, "MOST", 3)


def no_weight(_result):
    return 0


def readers():
    return [t for t in threading.enumerate() if t.name == "m3rag-read"]


def test_files_come_in_order_with_their_errors():
    def work(number):
        time.sleep(0.01 * (number % 3))
        if number == 5:
            raise DocumentError("five")
        return number * 10

    found = {}
    for number, reading in read_ahead(work, dict.fromkeys(range(20), 1), no_weight):
        found[number] = reading.exception() or reading.result()
    assert list(found) == list(range(20))
    assert str(found.pop(5)) == "five"
    assert found == {n: n * 10 for n in range(20) if n != 5}
    assert not readers()
    assert not list(read_ahead(work, {}, no_weight))


@pytest.mark.parametrize(
    ("size", "weight", "least", "most"),
    [
        (1, 1, 16, 16),
        (10 << 20, 1, 16, 16),
        (1, 16 << 20, 4, 6),
        (100 << 20, 1, 1, 1),
        (1, 100 << 20, 1, 3),
    ],
)
def test_what_waits_is_bounded(size, weight, least, most):
    """Small files by number, others by their size, and by that of what was read from them."""
    begun: list[int] = []
    found = read_ahead(begun.append, dict.fromkeys(range(40), size), lambda _: weight)
    with closing(found):
        next(found)
        time.sleep(0.1)
        assert least <= len(begun) <= most
        assert sum(1 for _ in found) == 39
    assert sorted(begun) == list(range(40))


def test_without_threads_the_caller_reads(monkeypatch):
    def no_thread(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    found = read_ahead(str, dict.fromkeys(range(30), 1), len)
    assert [reading.result() for _, reading in found] == list(map(str, range(30)))


def test_documents_are_parsed_at_once(write):
    """As many processes as threads; what they return is what one alone returns."""
    paths = [write(f"{i}.html", f"<h1>Moss {i}</h1>" + "<p>Ferns. " * 300) for i in range(6)]
    alone = [read(path) for path in paths]
    found = read_ahead(read, {path: path.stat().st_size for path in paths}, lambda d: len(d.text))
    assert [reading.result() for _, reading in found] == alone


def test_the_end_interrupts_what_is_being_parsed(write):
    path = write("slow.pdf", SLOW)
    start = time.monotonic()
    with closing(read_ahead(read, {path: 1, str(path): 1}, no_weight)) as found:
        next(found)
        while not parser_process._POOL._busy:
            time.sleep(0.01)
    assert time.monotonic() - start < 5
    assert not readers()
    assert not parser_process._POOL._busy
    assert read(write("a.html", "<p>Moss")).text == "Moss"


@pytest.mark.skipif(sys.platform == "win32", reason="needs process groups")
def test_an_iterator_that_is_left_does_not_stop_the_exit(write):
    code = """
import sys
from m3rag.documents import read
from m3rag.documents.ahead import read_ahead
found = read_ahead(read, dict.fromkeys([sys.argv[1], *(f"{sys.argv[1]}{i}" for i in range(40))], 1),
                   lambda _: 0)
next(found)
"""
    path = write("slow.pdf", SLOW)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=10,
    )
    assert (done.returncode, done.stderr) == (0, "")
