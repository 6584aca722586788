"""Indexes that an older version made: opened, searched and synced as on the day they were made.

`data/make_format_1.py` says which version made them and how.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
import tarfile
from pathlib import Path

import pytest

from m3rag import M3Index, Passage
from m3rag.index.folder import sync
from m3rag.index.maintenance import check
from m3rag.index.presets import Preset
from m3rag.stores.edge import legacy

DATA = Path(__file__).parent / "data"
MADE = json.loads((DATA / "format-1.json").read_text("utf-8"))
PASSAGES = {
    values["id"]: Passage(**{**values, "headings": tuple(values["headings"])})
    for values in MADE["passages"]
}
DOCUMENTS = sorted({p.document_id for p in PASSAGES.values() if p.document_id is not None})
CHANGED = "plants/en/ferns.md"
TOLERANCE = {"dense": 1e-5, "sparse": 1e-5, "bm25": 1e-5}
# Format 1 stored ColBERT vectors with 8 bits, and the upgrade rounds what it reads to 8 bits again.
ROUNDED_AGAIN = {"colbert": 2e-3, "score": 2e-3}


@pytest.fixture(params=MADE["indexes"])
def kind(request):
    return request.param


@pytest.fixture
def unpacked(kind, tmp_path):
    """An index of one kind and the documents; the engine's files keep their holes."""
    with tarfile.open(DATA / "format-1.tar.gz") as archive:
        wanted = [m for m in archive.getmembers() if m.name.split("/")[0] in (kind, "plants")]
        archive.extractall(tmp_path, wanted, filter="data")
    return tmp_path


@pytest.fixture
def plants(unpacked, monkeypatch):
    """The folder of documents, which `sync` takes for the one that the indexes were made from.

    An index keeps a hash of the absolute path of the folder it follows, and `sync` refuses a folder
    of the same name at another path. No path exists on every machine, so the hash of this folder's
    path is answered with that of the recorded path. All else stays real: the files, the other
    hashes, and the passages with the hash that version 0.1.0 stored. So the way in which a path
    becomes that hash is tested as well: if it changes, existing indexes are refused.
    """
    folder = unpacked / "plants"
    here, recorded = str(folder.resolve()).encode(), MADE["folder"].encode()
    sha256 = hashlib.sha256

    def elsewhere(data=b"", **options):
        return sha256(recorded if data == here else data, **options)

    monkeypatch.setattr(hashlib, "sha256", elsewhere)
    return folder


@pytest.fixture
def format_2(tmp_path):
    """An index of format 2, which `make_format_2.py` made."""
    with tarfile.open(DATA / "format-2.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "kb"


FORMAT_2_FINDS = [
    ({"author.name": "Ann"}, {"fern"}),
    ({"when": {"gte": "2026-01-01"}}, {"fern"}),
    ({"start": 0}, {"fern"}),
    ({"title": {"text": "water"}}, {"long"}),
    ({"title": {"exists": False}}, {"fern", "helecho"}),
    ({"year": {"gte": 2020}}, {"helecho"}),
    ({"tags": "b", "ok": True}, {"long"}),
]


def test_format_2_gets_the_fields_of_format_3(format_2, tiny):
    assert check(format_2).problems == ()
    assert json.loads((format_2 / "m3rag.json").read_text())["format"] == 2
    for _ in range(2):
        with M3Index.open(format_2, model=tiny) as index:
            assert [p.id for p in index.passages()] == ["fern", "helecho", "long"]
            assert [*index.presets] == ["own"]
            for where, found in FORMAT_2_FINDS:
                assert {p.id for p in index.passages(where)} == found
                assert {h.passage.id for h in index.search("plant", filter=where)} == found
        assert json.loads((format_2 / "m3rag.json").read_text())["format"] == 3
        assert check(format_2).problems == ()


def test_format_2_in_a_read_only_folder(format_2, tiny, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    before = {path.name: path.read_bytes() for path in format_2.iterdir()}
    with M3Index.open(format_2, model=tiny) as index:
        for where, found in FORMAT_2_FINDS:
            assert {p.id for p in index.passages(where)} == found
            assert {h.passage.id for h in index.search("plant", filter=where)} == found
    assert {name: (format_2 / name).read_bytes() for name in before} == before


def test_the_engine_of_an_older_format_is_made_again(tmp_path, tiny):
    """Its files have the values that older filters used, although they are complete."""
    folder = tmp_path / "kb"
    with M3Index.open(folder, model=tiny) as index:
        index.add([Passage("a", "x", {"n": 1}), Passage("b", "x", {"n": 1})])
        engine = index.stored.store._engine._folder
    with contextlib.closing(sqlite3.connect(folder / "passages.db")) as database:
        database.execute("DELETE FROM record WHERE name = 'fields'")
        database.commit()
    with M3Index.open(folder, model=tiny) as index:
        assert index.stored.store._engine._folder != engine
        assert len(index.search("x", filter={"n": 1})) == 2
    with M3Index.open(folder, model=tiny) as index:
        kept = index.stored.store._engine._folder
    with M3Index.open(folder, model=tiny) as index:
        assert index.stored.store._engine._folder == kept


def run(index, folder):
    settings = {name: MADE[name] for name in ("max_tokens", "overlap")}
    return sync(index, folder, index.model.tokenizer, **settings)


def manifest(index):
    return {"colbert": index.manifest.colbert, "context": index.manifest.context}


def test_it_has_what_it_had_and_finds_what_it_found(kind, unpacked, tiny):
    made = MADE["indexes"][kind]
    with M3Index.open(unpacked / kind, model=tiny, create=False) as index:
        assert manifest(index) == made["manifest"]
        assert {p.id: p for p in index.passages()} == PASSAGES
        assert index.presets == {name: Preset(**own) for name, own in made["presets"].items()}
        for search in made["searches"]:
            hits = index.search(search["query"], len(PASSAGES), **search["settings"])
            assert [h.passage for h in hits] == [PASSAGES[h["id"]] for h in search["hits"]]
            for hit, expected in zip(hits, search["hits"], strict=True):
                for name, tolerance in {**TOLERANCE, **ROUNDED_AGAIN}.items():
                    score = getattr(hit, name)
                    assert (score is None) == (expected[name] is None)
                    if score is not None:
                        assert score == pytest.approx(expected[name], rel=0, abs=tolerance), name


def test_it_has_the_new_format_afterwards(kind, unpacked, tiny):
    folder = unpacked / kind
    M3Index.open(folder, model=tiny).close()
    assert json.loads((folder / "m3rag.json").read_text())["format"] == 3
    assert (folder / "passages.db").is_file()
    assert not (folder / "edge").exists()
    with M3Index.open(folder, model=tiny) as index:
        assert {p.id: p for p in index.passages()} == PASSAGES


def test_an_interrupted_upgrade_starts_again(kind, unpacked, tiny, monkeypatch):
    folder = unpacked / kind

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(legacy.os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            M3Index.open(folder, model=tiny)
    assert json.loads((folder / "m3rag.json").read_text())["format"] == 1
    with M3Index.open(folder, model=tiny) as index:
        assert {p.id: p for p in index.passages()} == PASSAGES


def test_it_follows_its_folder_as_before(kind, unpacked, plants, tiny):
    made = MADE["indexes"][kind]
    with M3Index.open(unpacked / kind, model=tiny, create=False) as index:
        changes = run(index, plants)
        assert (sorted(changes.unchanged), changes.passages) == (DOCUMENTS, 0)
        assert [*changes.added, *changes.replaced, *changes.removed, *changes.failed] == []
        assert {p.id: p for p in index.passages()} == PASSAGES

        (plants.parent / CHANGED).write_text("# Ferns\n\nFrost kills young fronds.\n", "utf-8")
        changes = run(index, plants)
        assert changes.replaced == [CHANGED]
        assert sorted(changes.unchanged) == [name for name in DOCUMENTS if name != CHANGED]
        assert [*changes.added, *changes.removed, *changes.failed] == []
    with M3Index.open(unpacked / kind, model=tiny, create=False) as index:
        assert manifest(index) == made["manifest"]
        found = {p.id: p for p in index.passages()}
        others = {i: p for i, p in PASSAGES.items() if p.document_id != CHANGED}
        assert {i: p for i, p in found.items() if p.document_id != CHANGED} == others
        [new] = (p for p in found.values() if p.document_id == CHANGED)
        assert "Frost" in new.text
        assert index.search("Which fronds does frost kill?", 1)[0].passage == new
