"""What a sync does with files that are renamed, equal, excluded or gone."""

import itertools
import os
import random
import zipfile

import pytest

from m3rag import M3Index
from m3rag.documents.reading import format_of
from m3rag.errors import DocumentError, InputError
from m3rag.index.plan import make_plan
from m3rag.index.stored_files import StoredFile
from m3rag.index.sync import sync
from m3rag.limits import Limits

FERNS, CACTI, MOSS = "# Ferns\n\nFerns like shade.\n", "Cacti like sun.\n", "Moss drinks dew.\n"
LONG = "\n\n".join(f"Plant {i} needs water. " * 9 for i in range(4))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "handbook"
    folder.mkdir()
    return folder


@pytest.fixture
def index(tiny, request):
    context = getattr(request, "param", "passage")
    with M3Index.open(model=tiny, context=context) as index:
        yield index


@pytest.fixture
def run(index, folder):
    """Write files (None deletes one), sync, and check that nothing else was encoded."""

    def run(files=(), **options):
        for name, text in dict(files).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_text(text)
        before = index.model.encoded
        changes = sync(index, folder, index.model.tokenizer, max_tokens=64, overlap=8, **options)
        assert index.model.encoded - before <= changes.passages
        return changes

    return run


def texts(index):
    """Return the text of each stored document, whose passages do not overlap here, and copies."""
    found: dict[str, tuple[str, list[str] | None]] = {}
    for passage in sorted(index.passages(), key=lambda p: (p.document_id, p.start)):
        text, _ = found.get(passage.document_id, ("", None))
        found[passage.document_id] = (text + passage.text, passage.metadata.get("copies"))
        assert passage.id.startswith(f"{passage.document_id}#")
        assert passage.metadata["source"].split("/")[:2] == passage.document_id.split("/")[:2]
    return found


def hits(index):
    return {h.passage.text: round(h.score, 5) for h in index.search("water", k=100)}


@pytest.mark.parametrize("index", ["passage", "document"], indirect=True)
def test_a_renamed_document_keeps_its_vectors(index, folder, run):
    run({"a.md": FERNS, "long.txt": LONG})
    before = hits(index)
    (folder / "sub").mkdir()
    (folder / "long.txt").rename(folder / "sub" / "longer.txt")
    changes = run()
    assert changes.renamed == {"handbook/long.txt": "handbook/sub/longer.txt"}
    assert (changes.removed, changes.added, changes.passages) == ([], [], 0)
    assert changes.unchanged == ["handbook/a.md"]
    assert hits(index) == before
    assert texts(index).keys() == {"handbook/a.md", "handbook/sub/longer.txt"}
    assert run().unchanged == ["handbook/a.md", "handbook/sub/longer.txt"]


def test_another_suffix_or_other_settings_are_read_again(folder, run):
    run({"a.md": FERNS})
    changes = run({"a.md": None, "a.txt": FERNS})
    assert (changes.added, changes.removed) == (["handbook/a.txt"], ["handbook/a.md"])
    changes = run({"a.txt": None, "b.txt": FERNS}, encoding="cp1251")
    assert (changes.added, changes.removed) == (["handbook/b.txt"], ["handbook/a.txt"])


def test_rotated_and_swapped_documents(index, run):
    run({"1.txt": FERNS, "2.txt": CACTI, "x.txt": MOSS, "y.txt": LONG})
    changes = run({"1.txt": "New.", "2.txt": FERNS, "3.txt": CACTI})
    assert changes.passages == 1
    assert changes.replaced == ["handbook/1.txt", "handbook/2.txt"]
    assert changes.added == ["handbook/3.txt"]
    assert changes.removed == []
    found = [texts(index)[f"handbook/{name}.txt"][0] for name in "123x"]
    assert found == ["New.", FERNS.strip(), CACTI.strip(), MOSS.strip()]
    changes = run({"x.txt": LONG, "y.txt": MOSS})  # a circle is encoded again
    assert changes.replaced == ["handbook/x.txt", "handbook/y.txt"]
    assert texts(index)["handbook/y.txt"][0] == MOSS.strip()


def test_a_file_that_replaces_another_one(index, run):
    run({"a.txt": FERNS, "b.txt": LONG})
    changes = run({"a.txt": None, "b.txt": FERNS})
    assert (changes.replaced, changes.removed) == (["handbook/b.txt"], ["handbook/a.txt"])
    assert (changes.renamed, changes.passages) == ({}, 0)
    assert texts(index) == {"handbook/b.txt": (FERNS.strip(), None)}


def test_equal_files_are_stored_once_with_all_names(index, run):
    changes = run({"a.txt": FERNS, "b/a.txt": FERNS, "c.md": FERNS, "d.txt": MOSS})
    assert changes.added == ["handbook/a.txt", "handbook/c.md", "handbook/d.txt"]
    assert changes.duplicates == {"handbook/b/a.txt": "handbook/a.txt"}
    assert texts(index)["handbook/a.txt"][1] == ["handbook/b/a.txt"]
    assert index.count({"copies": "handbook/b/a.txt"}) == 1
    [hit] = index.search("ferns", k=1, filter={"copies": "handbook/b/a.txt"})
    assert hit.passage.document_id == "handbook/a.txt"
    again = run()
    assert (again.duplicates, again.passages) == (changes.duplicates, 0)
    assert again.unchanged == changes.added
    # One more, then one less: only names change.
    assert run({"e.txt": FERNS}).passages == 0
    assert texts(index)["handbook/a.txt"][1] == ["handbook/b/a.txt", "handbook/e.txt"]
    changes = run({"b/a.txt": None})
    assert (changes.removed, changes.passages) == (["handbook/b/a.txt"], 0)
    # The other keeps the passages when the first is deleted, or changes.
    changes = run({"a.txt": None})
    assert (changes.removed, changes.passages) == (["handbook/a.txt"], 0)
    assert changes.unchanged == ["handbook/c.md", "handbook/d.txt", "handbook/e.txt"]
    assert texts(index)["handbook/e.txt"] == (FERNS.strip(), None)
    run({"a.txt": FERNS})
    changes = run({"e.txt": CACTI})
    assert (changes.replaced, changes.passages) == (["handbook/e.txt"], 1)
    assert (changes.unchanged[0], changes.removed) == ("handbook/a.txt", [])
    assert texts(index)["handbook/a.txt"] == (FERNS.strip(), None)


def test_a_document_that_becomes_equal_to_another(index, run):
    run({"a.txt": LONG, "b.txt": FERNS})
    changes = run({"a.txt": FERNS})
    assert changes.duplicates == {"handbook/a.txt": "handbook/b.txt"}
    assert texts(index) == {"handbook/b.txt": (FERNS.strip(), ["handbook/a.txt"])}
    changes = run({"a.txt": MOSS, "b.txt": MOSS})
    assert (changes.replaced, changes.duplicates) == (
        ["handbook/a.txt"],
        {"handbook/b.txt": "handbook/a.txt"},
    )
    assert texts(index) == {"handbook/a.txt": (MOSS.strip(), ["handbook/b.txt"])}


def test_equal_files_that_cannot_be_read_keep_what_they_had(index, run, monkeypatch):
    run({"a.txt": FERNS, "b.txt": MOSS})
    changes = run({"a.txt": "\0\1binary", "b.txt": "\0\1binary", "c.txt": "", "d.txt": ""})
    assert "has the content of handbook/a.txt" in changes.failed["handbook/b.txt"]
    assert "is empty" in changes.failed["handbook/d.txt"]
    assert changes.failed.keys() == {f"handbook/{name}.txt" for name in "abcd"}
    assert (changes.duplicates, changes.removed) == ({}, [])
    assert texts(index).keys() == {"handbook/a.txt", "handbook/b.txt"}


def test_copies_in_a_folder_that_is_away_are_still_there(index, folder, run, tmp_path):
    (tmp_path / "disk").mkdir()
    (folder / "linked").symlink_to("../disk")
    files = {"a.txt": FERNS, "linked/b.txt": FERNS, "linked/c.txt": MOSS}
    assert len(run(files, follow_links=True).duplicates) == 1
    (tmp_path / "disk").rename(tmp_path / "away")
    changes = run({"d.txt": MOSS}, follow_links=True)
    assert changes.removed == []
    assert changes.duplicates == {"handbook/d.txt": "handbook/linked/c.txt"}
    assert texts(index)["handbook/a.txt"][1] == ["handbook/linked/b.txt"]
    changes = run({"a.txt": None}, follow_links=True)
    assert (changes.removed, changes.passages) == (["handbook/a.txt"], 0)
    assert texts(index)["handbook/linked/b.txt"] == (FERNS.strip(), None)
    (tmp_path / "away").rename(tmp_path / "disk")
    changes = run(follow_links=True)
    assert changes.unchanged == ["handbook/linked/b.txt", "handbook/linked/c.txt"]


def test_what_a_pattern_excludes_is_removed_and_others_are_counted(index, folder, run):
    run({"a.md": FERNS, "b.log.txt": MOSS, "c.psd": "x", "drafts/d.md": CACTI})
    changes = run({".m3ragignore": "drafts/\n"}, exclude=["*.log.txt"])
    assert changes.removed == ["handbook/b.log.txt", "handbook/drafts/d.md"]
    assert changes.excluded == {
        "handbook/b.log.txt": "*.log.txt (exclude)",
        "handbook/drafts/": "drafts/ (.m3ragignore, line 1)",
    }
    assert changes.other == {".psd": 1}
    assert index.count() == 1
    with pytest.raises(InputError, match="is a file, and `exclude` is for folders"):
        sync(index, folder / "a.md", index.model.tokenizer, exclude=["*.md"])


def test_an_emptied_folder_loses_its_documents(index, folder, run):
    index.add(["A passage of no document."])
    with pytest.raises(DocumentError, match="handbook contains no"):
        run({"image.png": "x"})
    run({"a.md": FERNS, "b/c.md": MOSS})
    changes = run({"a.md": None, "b/c.md": None})
    assert changes.removed == ["handbook/a.md", "handbook/b/c.md"]
    assert index.count() == 1
    run({"a.md": FERNS})
    (folder / "a.md").unlink()
    (folder / "image.png").unlink()
    (folder / "b").rmdir()
    folder.rmdir()
    with pytest.raises(DocumentError, match="does not exist"):
        run()
    assert index.count() == 2, "a folder that is gone may only be unmounted"


def test_the_documents_of_archives_are_renamed_with_them(index, folder, run):
    with zipfile.ZipFile(folder / "box.zip", "w") as archive:
        archive.writestr("sub/a.md", FERNS)
        archive.writestr("b.txt", MOSS)
    run()
    (folder / "box.zip").rename(folder / "crate.zip")
    changes = run()
    assert changes.renamed == {"handbook/box.zip": "handbook/crate.zip"}
    assert texts(index).keys() == {"handbook/crate.zip/sub/a.md", "handbook/crate.zip/b.txt"}
    assert [h.passage.id for h in index.search("ferns", k=1)] == ["handbook/crate.zip/sub/a.md#0"]


def test_a_name_that_is_too_long_keeps_the_old_one(index, folder, run):
    with zipfile.ZipFile(folder / "box.zip", "w") as archive:
        archive.writestr("a" * 40 + ".md", FERNS)
    run(limits=Limits(id_characters=200))
    index.limits = Limits(id_characters=100)
    (folder / "box.zip").rename(folder / ("b" * 60 + ".zip"))
    changes = run()
    assert "id has" in changes.failed[f"handbook/{'b' * 60}.zip"]
    assert (changes.removed, index.count()) == ([], 1)


def test_data_is_a_document_with_a_name(index):
    def add(data, name="notes.md", **options):
        return sync(index, name, index.model.tokenizer, data=data, **options)

    assert add(FERNS.encode()).added == ["notes.md"]
    assert add(FERNS.encode()).unchanged == ["notes.md"]
    assert add(MOSS.encode()).replaced == ["notes.md"]
    assert {p.metadata["source"] for p in index.passages()} == {"notes.md"}
    assert "notes.md is empty" in add(b"").failed["notes.md"]
    for name in ("", "a/b.md", "\udcff.md"):
        with pytest.raises(InputError, match="is no name for a document"):
            add(b"x", name)
    with pytest.raises(DocumentError, match="unknown suffix"):
        add(b"x", "a.bin")
    with pytest.raises(InputError, match="must be bytes"):
        add("text")
    with pytest.raises(DocumentError, match="more than the limit of 4 bytes"):
        add(b"12345", limits=Limits(file_bytes=4))


def stored_file(name, stamp, copies=()):
    return StoredFile({f"{name}#0"}, {stamp}, 1, {tuple(copies)})


@pytest.mark.parametrize("seed", range(20))
def test_plans_keep_every_content_and_read_only_what_is_new(seed):
    rng = random.Random(seed)
    names = [f"{i}.txt" for i in range(6)]
    for _ in range(150):
        now = {n: rng.choice("abcdef") for n in names if rng.random() < 0.7}
        before = {n: rng.choice("abcdef") for n in names if rng.random() < 0.7}
        stored, store = {}, {}
        for stamp, group in itertools.groupby(sorted(before, key=before.get), key=before.get):
            first, *copies = group
            stored[first], store[first] = stored_file(first, stamp, copies), stamp
        plan = make_plan(now, stored, set())
        for name in plan.stale:
            del store[name]
        for old, new in plan.moves:
            assert new not in store, "nothing is overwritten"
            store[new] = store.pop(old)
        assert {name: now[name] for name in plan.kept} == {name: store[name] for name in plan.kept}
        for name in plan.read:
            for other in (name, *plan.copies[name]):
                store.pop(other, None)
            store[name] = now[name]
        covered = {other: store[name] for name in store for other in (name, *plan.copies[name])}
        assert covered == now
        assert len(set(store.values())) == len(store)
        assert format_of(names[0]).name == "text"
        read = {now[name] for name in plan.read}
        circle = {now[n] for n in plan.read if now[n] in before.values()}
        assert read - circle == set(now.values()) - set(before.values())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such entries")
def test_no_odd_entry_stops_the_others(folder, run):
    os.mkfifo(folder / "pipe.md")
    (folder / "gone.md").symlink_to("nowhere")
    with open(os.fsencode(folder) + b"/odd\xff.md", "wb"):
        pass
    (folder / "sub").mkdir()
    (folder / "sub" / ".m3ragignore").write_text("[z-a]")
    (folder / "bad.docx").write_bytes(b"PK\3\4")
    changes = run({"a.md": FERNS})
    assert changes.added == ["handbook/a.md"]
    assert changes.skipped.keys() == {"handbook/pipe.md"}
    odd = {"handbook/gone.md", r"handbook/odd\xff.md", "handbook/sub/", "handbook/bad.docx"}
    assert changes.failed.keys() == odd
