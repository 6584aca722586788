"""Check, repair, back up and restore an index."""

import contextlib
import json
import sqlite3
import subprocess
import sys
import threading

import numpy as np
import pytest

from m3rag import M3Index, Passage
from m3rag.errors import FormatError, InputError, InUseError, StorageError
from m3rag.index.maintenance import backup, check, repair, restore
from m3rag.index.presets import Preset

WORDS = ("fern", "rose", "lamp", "boat", "tree", "bird", "rock", "wave", "moon", "hill")
PASSAGES = [
    Passage(f"p{i}", f"Passage {i} is about {word}s and shade.", {"n": i, "tags": [word, "x"]})
    for i, word in enumerate(WORDS)
]


@pytest.fixture
def kb(tmp_path, tiny):
    """Without ColBERT vectors, so that a test is quick."""
    with M3Index.open(tmp_path / "kb", model=tiny, colbert="off") as index:
        index.add(PASSAGES)
        index.save_preset("mine", Preset({"dense": 1.0}))
    return tmp_path / "kb"


@pytest.fixture
def stored(tmp_path, tiny):
    with M3Index.open(tmp_path / "kb", model=tiny) as index:
        index.add(PASSAGES)
        index.save_preset("mine", Preset({"dense": 1.0}))
    return tmp_path / "kb"


def contents(folder, tiny):
    with M3Index.open(folder, model=tiny, create=False) as index:
        hits = index.search("a fern in the shade", len(PASSAGES))
        scores = {hit.passage.id: hit.score for hit in hits}
        return {p.id: p for p in index.passages()}, scores, dict(index.presets)


def change(folder, sql, *parameters):
    with contextlib.closing(sqlite3.connect(folder / "passages.db")) as database, database:
        database.execute(sql, parameters)


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 0x55
    path.write_bytes(content)


def test_a_healthy_index(kb):
    report = check(kb)
    assert report.healthy
    assert (report.expected, report.found) == (len(PASSAGES), len(PASSAGES))
    assert report.notes == ()
    assert repair(kb).done == ()


def test_an_open_index_can_be_checked(kb, tiny):
    with M3Index.open(kb, model=tiny) as index:
        index.add(["one more"])
        report = check(kb)
        assert report.healthy
        assert report.found == len(PASSAGES) + 1
        assert "in use" in report.notes[0]
        with pytest.raises(InUseError):
            repair(kb)


def test_a_search_file_is_only_a_note(kb):
    [engine] = kb.glob("engine-*")
    flip(next(p for p in engine.rglob("*") if p.is_file() and p.stat().st_size), 0)
    report = check(kb)
    assert report.healthy
    assert "search files" in report.notes[0]


@pytest.mark.parametrize("column", ["content", "dense", "sparse", "bm25", "id"])
def test_a_changed_value_is_found_and_costs_one_passage(kb, tiny, column):
    change(kb, f"UPDATE passage SET {column} = {column} || 'x' WHERE id = 'p3'")
    for broken in (check(kb).problems, [str(opening_error(kb, tiny))]):
        assert any("1 of 10 passages are damaged" in problem for problem in broken)
    report = repair(kb)
    assert (report.expected, report.kept, len(report.lost)) == (10, 9, 1)
    assert "passages.db.damaged" in report.done[0]
    assert check(kb).healthy
    passages, scores, presets = contents(kb, tiny)
    assert passages == {p.id: p for p in PASSAGES if p.id != "p3"}
    assert scores.keys() == passages.keys()
    assert presets == {"mine": Preset({"dense": 1.0})}


def opening_error(kb, tiny):
    with pytest.raises(FormatError) as caught:
        M3Index.open(kb, model=tiny)
    assert f"m3rag repair --in {kb}" in str(caught.value)
    return caught.value


def test_damaged_colbert_vectors_are_encoded_again(stored, tiny):
    before = contents(stored, tiny)
    change(stored, "UPDATE colbert SET vectors = zeroblob(length(vectors)) WHERE key = 4")
    opening_error(stored, tiny)
    report = repair(stored, model=tiny)
    assert [p.id for p in report.again] == ["p3"]
    assert report.lost == ()
    after = contents(stored, tiny)
    assert after[0] == before[0]
    assert after[1] == pytest.approx(before[1], abs=1e-5)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM passage WHERE id = 'p3'",
        "DELETE FROM field WHERE key = 4",
        "INSERT INTO field VALUES ('n', 77.0, 4)",
        "DELETE FROM colbert WHERE key = 4",
        "UPDATE state SET passages = 9",
        "UPDATE state SET digest = 1",
        "DELETE FROM state",
    ],
)
def test_rows_that_are_missing_or_wrong_are_found(stored, tiny, sql):
    change(stored, sql)
    assert not check(stored).healthy
    opening_error(stored, tiny)


def test_a_flipped_bit_anywhere_is_found_or_harmless(stored, tiny):
    """Every page of the database, at a random place."""
    before = contents(stored, tiny)
    path = stored / "passages.db"
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    found = 0
    for start in range(0, len(content), 8192):
        path.write_bytes(content)
        flip(path, start + int(rng.integers(8192)))
        try:
            after = contents(stored, tiny)
        except FormatError:
            found += 1
            continue
        assert after[0] == before[0]
        assert after[1] == pytest.approx(before[1], abs=1e-6)
    assert found > 5


def test_a_damaged_first_page_is_made_again(kb, tiny):
    before = contents(kb, tiny)
    with (kb / "passages.db").open("r+b") as file:
        file.write(bytes(8192))
    opening_error(kb, tiny)
    report = repair(kb)
    assert report.kept == len(PASSAGES)
    assert "first page" in " ".join(report.done)
    assert contents(kb, tiny)[0] == before[0]


def test_a_missing_database_is_no_empty_index(kb, tiny):
    (kb / "passages.db").unlink()
    assert "10 passages" in str(opening_error(kb, tiny))
    assert not check(kb).healthy
    report = repair(kb)
    assert "10 passages are lost" in report.done[0]
    assert contents(kb, tiny)[0] == {}


@pytest.mark.parametrize("damage", [b"", b"{}", b"\0" * 300, None])
def test_records_are_restored_from_their_copies(kb, tiny, damage):
    before = contents(kb, tiny)
    for name in ("m3rag.json", "presets.json"):
        if damage is None:
            (kb / name).unlink()
        else:
            (kb / name).write_bytes(damage)
    assert not check(kb).healthy
    with pytest.raises(FormatError, match=r"m3rag repair"):
        M3Index.open(kb, model=tiny)
    assert len(repair(kb).done) == 2
    assert contents(kb, tiny) == before


def test_a_changed_digit_of_a_record_is_found(kb, tiny):
    for name in ("m3rag.json", "presets.json"):
        content = (kb / name).read_text()
        (kb / name).write_text(content.replace("1", "2", 1))
        assert name in check(kb).problems[0]
        with pytest.raises(FormatError, match=rf"{name}.*(checksum|not the one)"):
            M3Index.open(kb, model=tiny)
        (kb / name).write_text(content)


@pytest.mark.parametrize("name", ["passages.db", "m3rag.json", "presets.json"])
def test_a_file_of_another_index_is_found(kb, tiny, tmp_path, name):
    """It is intact in itself."""
    mode = json.loads((kb / "m3rag.json").read_text())["colbert"]
    with M3Index.open(tmp_path / "other", model=tiny, colbert=mode, context="passage") as index:
        index.add([Passage(f"o{i}", f"Another passage {i}.") for i in range(20)])
        index.add(["one more"])
        index.save_preset("mine", Preset({"sparse": 1.0}))
        index.save_preset("theirs", Preset({"sparse": 1.0}))
    before = contents(kb, tiny)
    own = (kb / name).read_bytes()
    (kb / name).write_bytes((tmp_path / "other" / name).read_bytes())
    if name != "m3rag.json" or own != (kb / name).read_bytes():
        assert not check(kb).healthy
        assert name in str(opening_error(kb, tiny))
    if name == "passages.db":
        (kb / name).write_bytes(own)
    else:
        repair(kb)
    assert contents(kb, tiny) == before


KILLED = """
import os, sys
from m3rag import M3Index, M3Model, Passage
index = M3Index.open(sys.argv[1], model=M3Model.load("tiny"))
index.add([Passage(f"q{i}", f"More about lamp {i}.") for i in range(5)])
os.kill(os.getpid(), 9)
"""


def test_a_damaged_log_is_reported(kb, tiny):
    subprocess.run([sys.executable, "-c", KILLED, str(kb)], check=False)
    log = kb / "passages.db-wal"
    assert log.stat().st_size
    whole = log.read_bytes()
    database = (kb / "passages.db").read_bytes()
    flip(log, 5_000)
    message = str(opening_error(kb, tiny))
    assert "lost its last" in message
    (kb / "passages.db").write_bytes(database)
    log.write_bytes(whole)
    (kb / "passages.db-shm").unlink(missing_ok=True)
    assert len(contents(kb, tiny)[0]) == len(PASSAGES) + 5


def test_a_removed_log_is_reported_and_can_be_accepted(kb, tiny):
    subprocess.run([sys.executable, "-c", KILLED, str(kb)], check=False)
    (kb / "passages.db-wal").unlink()
    assert "it has 10 passages, and had 15" in str(opening_error(kb, tiny))
    repair(kb)
    assert contents(kb, tiny)[0].keys() == {p.id for p in PASSAGES}


def test_a_backup_is_an_index(kb, tiny, tmp_path):
    assert backup(kb, tmp_path / "copy") == len(PASSAGES)
    assert not list((tmp_path / "copy").glob("engine-*"))
    assert contents(tmp_path / "copy", tiny)[:1] == contents(kb, tiny)[:1]
    assert contents(tmp_path / "copy", tiny)[2] == contents(kb, tiny)[2]
    assert restore(tmp_path / "copy", tmp_path / "back") == len(PASSAGES)
    assert check(tmp_path / "back").healthy


def test_a_backup_while_passages_are_added_is_one_moment(stored, tiny, tmp_path):
    with M3Index.open(stored, model=tiny) as index:
        stop = threading.Event()

        def add():
            for n in range(1_000):
                if stop.is_set():
                    return
                index.add([Passage(f"a{n}", f"add {n}"), Passage(f"b{n}", f"add {n} too")])

        thread = threading.Thread(target=add)
        thread.start()
        try:
            counts = [backup(stored, tmp_path / f"copy{i}") for i in range(3)]
        finally:
            stop.set()
            thread.join()
    assert all(count % 2 == 0 for count in counts)
    assert counts == sorted(counts)


def test_backups_refuse_what_they_cannot_do(kb, tiny, tmp_path):
    with pytest.raises(StorageError, match="not empty"):
        backup(kb, kb)
    below_a_file = kb / "m3rag.json" / "copy"
    with pytest.raises(StorageError) as refused:
        backup(kb, below_a_file)
    assert str(refused.value).count(str(below_a_file)) == 1
    with pytest.raises(FormatError, match="no m3rag"):
        backup(tmp_path / "none", tmp_path / "copy")
    with pytest.raises(FormatError, match="not an m3rag index"):
        check(tmp_path / "none")
    with pytest.raises(FormatError, match="not an m3rag index"):
        repair(tmp_path)
    with pytest.raises(InputError, match="memory"):
        check(None)
    change(kb, "DELETE FROM passage WHERE id = 'p3'")
    with pytest.raises(FormatError, match="9 of 10"):
        backup(kb, tmp_path / "copy")
    assert not (tmp_path / "copy" / "m3rag.json").exists()
    (kb / "m3rag.json").write_text(json.dumps({}))
    with pytest.raises(FormatError):
        restore(kb, tmp_path / "copy2")
