"""`m3rag index --watch`, from its command line to Ctrl-C."""

import json
import os
import queue
import re
import signal
import sys
import threading
from contextlib import contextmanager

import pytest

from m3rag import M3Index
from m3rag.cli import watch as command
from m3rag.cli.index_report import print_changes
from m3rag.cli.output import Terminal
from m3rag.index.changes import Changes


@pytest.fixture
def docs(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "ferns.md").write_text("# Ferns\n\nFerns like shade.\n")
    return docs


@pytest.fixture
def rounds(monkeypatch):
    """A queue that gets an item when a round was printed."""
    printed: queue.Queue[object] = queue.Queue()

    def print_changes(changes, *rest, **options):
        printed_by(changes, *rest, **options)
        printed.put(changes)

    printed_by = command.print_changes
    monkeypatch.setattr(command, "print_changes", print_changes)
    return printed


@contextmanager
def following(rounds, *steps):
    """Do one step after each round, in a thread, and then press Ctrl-C, unless the block ended."""
    ended = threading.Event()

    def work():
        for step in (*steps, lambda: None):
            while rounds.empty() and not ended.wait(0.02):
                pass
            if ended.is_set():
                return
            rounds.get()
            step()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_each_change_is_a_round_and_ctrl_c_ends_it(m3rag, docs, rounds, tiny, monkeypatch):
    kb = docs / "kb"
    held = M3Index.open(kb, model=tiny)

    class Impatient(Terminal):
        def say(self, *parts):
            super().say(*parts)
            held.close()

    monkeypatch.setattr(command, "Terminal", Impatient)
    monkeypatch.setattr(command, "_RETRY_SECONDS", 0.1)
    steps = [
        lambda: (docs / "broken.pdf").write_bytes(b"%PDF-1.4 nothing"),
        lambda: (docs / "moss.txt").write_text("Moss needs water."),
    ]
    with following(rounds, *steps):
        code, out, err = m3rag("index", docs, "--to", kb, "--watch", "--json")
    assert len(out.splitlines()) == 3, out + err
    first, broken, last = (json.loads(line) for line in out.splitlines())
    assert (first["added"], first["total"]) == (["docs/ferns.md"], 1)
    assert broken["failed"].keys() == last["failed"].keys() == {"docs/broken.pdf"}
    assert (last["added"], last["total"]) == (["docs/moss.txt"], 2)
    assert (code, "Waiting. " in err, "Stopped" in err) == (0, True, False)


def test_a_round_prints_what_is_new(capsys):
    before = Changes(unchanged=["docs/a.md"], failed={"docs/b.pdf": "It is damaged."})
    now = Changes(added=["docs/c.md"], unchanged=["docs/a.md"], failed=dict(before.failed))
    now.failed["docs/d.pdf"] = "It is empty."
    now.passages = 3
    print_changes(now, "kb", 9, as_json=False, before=before)
    line, failed = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d  1 added, 1 unchanged; 3 passages stored, 9 in kb\.", line)
    assert failed == "not indexed: docs/d.pdf: It is empty."


def test_what_cannot_be_watched(m3rag, docs, tmp_path, monkeypatch):
    code, _, err = m3rag("index", "-", "--to", tmp_path / "kb", "--watch")
    assert (code, "--watch is for folders" in err) == (1, True)
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    code, _, err = m3rag("index", docs, "--to", tmp_path / "kb", "--model", "tiny", "--watch")
    assert (code, 'pip install "m3rag[watch]"' in err) == (1, True)
