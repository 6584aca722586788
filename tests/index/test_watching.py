"""An index that is kept in step with a folder while it is watched, with real file system events."""

import inspect
import os
import queue
import shutil
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from m3rag import M3Index
from m3rag.errors import DocumentError, MissingExtraError
from m3rag.index import watching
from m3rag.index.stamps import Stamps
from m3rag.index.sync import sync
from m3rag.index.watching import SyncOptions, watch

NAME = "handbook"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / NAME
    folder.mkdir()
    (folder / "ferns.md").write_text("# Ferns\n\nFerns like shade.\n")
    return folder


def put(path, text):
    """Write a file at once: a round may begin between its creation and its first byte."""
    new = path.parents[1] / "new"
    new.write_text(text)
    new.replace(path)


@contextmanager
def watched(index, folder, **options):
    """Yield a function that returns the next changes of a folder that a thread watches."""
    stop = threading.Event()
    found: queue.Queue[object] = queue.Queue()

    def work():
        try:
            for changes in watch(
                index, folder, index.model.tokenizer, pause=0.05, stop=stop, **options
            ):
                found.put(changes)
        except BaseException as error:
            found.put(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield lambda: found.get(timeout=20)
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()
    assert found.empty(), found.get()


def test_every_change_of_a_folder_reaches_the_index(tiny, folder):
    """Also that of an index within the folder, whose own files change nothing."""
    with M3Index.open(folder / "kb", model=tiny) as index, watched(index, folder) as changes:
        assert changes().added == ["handbook/ferns.md"]
        put(folder / "moss.txt", "Moss needs water.")
        assert changes().added == ["handbook/moss.txt"]
        put(folder / "moss.txt", "Moss needs much water.")
        assert changes().replaced == ["handbook/moss.txt"]
        (folder / "notes").mkdir()
        (folder / "moss.txt").rename(folder / "notes" / "mosses.txt")
        assert changes().renamed == {"handbook/moss.txt": "handbook/notes/mosses.txt"}
        put(folder / "broken.pdf", "%PDF-1.4 nothing")
        found = changes()
        assert found.failed.keys() == {"handbook/broken.pdf"}
        assert found.unchanged == ["handbook/ferns.md", "handbook/notes/mosses.txt"]
        put(folder / ".m3ragignore", "notes/\nbroken.pdf\n")
        found = changes()
        assert (found.removed, found.failed) == (["handbook/notes/mosses.txt"], {})
        (folder / "notes" / "new.txt").write_text("It is left out.")
        put(folder / "photo.jpg", "not read")
        put(folder / ".hidden.md", "Not read.")
        shutil.rmtree(folder / "notes")
        put(folder / "last.md", "# Last\n\nThe last one.\n")
        while "handbook/last.md" not in changes().added:
            pass
        assert {p.document_id for p in index.passages()} == {
            "handbook/ferns.md",
            "handbook/last.md",
        }


def test_a_folder_that_disappears_keeps_its_passages(tiny, folder, tmp_path):
    away = tmp_path / "away"
    with M3Index.open(model=tiny) as index, watched(index, folder) as changes:
        changes()
        folder.rename(away)
        assert "does not exist" in changes().failed["handbook/"]
        folder.mkdir()  # as where a drive was mounted
        assert "Is its drive mounted?" in changes().failed["handbook/"]
        assert index.count() == 1
        folder.rmdir()
        away.rename(folder)
        put(folder / "moss.txt", "Moss needs water.")
        added: list[str] = []
        while not added:
            added = changes().added
        assert added == ["handbook/moss.txt"]
        put(folder / "lichen.txt", "Lichen grows slowly.")
        assert changes().added == ["handbook/lichen.txt"]
        assert index.count() == 3


def test_a_file_that_is_replaced_by_another_is_watched(tiny, folder):
    file = folder / "ferns.md"
    with M3Index.open(model=tiny) as index, watched(index, file) as changes:
        assert changes().added == ["ferns.md"]
        put(folder / "moss.txt", "Moss is no part of it.")
        put(folder / "ferns.md~", "Ferns like moist soil.")
        os.replace(folder / "ferns.md~", file)  # as editors save
        assert changes().replaced == ["ferns.md"]
        file.unlink()
        assert "does not exist" in changes().failed["ferns.md"]
        assert index.count() == 1


def test_what_the_first_round_cannot_read_is_an_error(tiny, folder, tmp_path, monkeypatch):
    with M3Index.open(model=tiny) as index:
        with pytest.raises(DocumentError, match=r"nowhere does not exist\. Pass the folder"):
            next(watch(index, tmp_path / "nowhere", tiny.tokenizer))
        (tmp_path / "empty").mkdir()
        with pytest.raises(DocumentError, match="contains no"):
            next(watch(index, tmp_path / "empty", tiny.tokenizer))
        monkeypatch.setitem(sys.modules, "watchfiles", None)
        with pytest.raises(MissingExtraError, match=r'pip install "m3rag\[watch\]"'):
            next(watch(index, folder, tiny.tokenizer))


def test_a_file_that_has_not_changed_is_not_read_again(tmp_path):
    path, stamps, reads = tmp_path / "a.txt", Stamps(), []

    def read():
        reads.append(path.read_text())
        return reads[-1], 1

    path.write_text("one")
    assert [stamps.get(path, read) for _ in range(2)] == [("one", 1)] * 2
    assert len(reads) == 2, "a change just now may not show in the times of the file"
    long_ago = time.time() - 60
    os.utime(path, (long_ago, long_ago))
    assert stamps.get(path, read) == ("one", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("m3rag.index.stamps.time.time", lambda: time.monotonic() + 1e10)
        assert [stamps.get(path, read) for _ in range(3)] == [("one", 1)] * 3
        assert len(reads) == 4
        path.write_text("two")
        assert stamps.get(path, read) == ("two", 1)
        path.unlink()
        with pytest.raises(FileNotFoundError):
            stamps.get(path, read)


def test_it_takes_the_options_of_sync():
    options = set(inspect.signature(sync).parameters)
    given = {"index", "folder", "tokenizer", "data", "stamps"}
    assert options - given == set(SyncOptions.__annotations__)
    assert watching.watch.__doc__
