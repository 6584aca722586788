"""Keep an index in step with a folder: add, replace and remove documents."""

import os
import threading
import zipfile

import pytest

from m3rag import M3Index
from m3rag.documents import find
from m3rag.errors import DocumentError, InputError, StorageError
from m3rag.index.sync import documents_in, sync
from m3rag.limits import Limits


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "handbook"
    (folder / "plants").mkdir(parents=True)
    (folder / "plants" / "ferns.md").write_text("# Ferns\n\nFerns like shade and moist soil.\n")
    (folder / "cacti.txt").write_text("Cacti like sun.\n\n" + "They need little water. " * 80)
    return folder


@pytest.fixture
def index(fresh):
    with M3Index.open(model=fresh) as index:
        yield index


def run(index, folder, **options):
    return sync(index, folder, index.model.tokenizer, max_tokens=64, overlap=8, **options)


def test_new_documents_are_added_under_the_folders_name(index, folder):
    changes = run(index, folder)
    assert changes.added == ["handbook/cacti.txt", "handbook/plants/ferns.md"]
    assert changes.passages == index.count() > 5
    [fern] = index.passages({"document_id": "handbook/plants/ferns.md"})
    assert fern.headings == ("Ferns",)


def test_passages_have_the_length_that_suits_the_model(index, folder):
    index.model.passage_tokens = 64
    sync(index, folder, index.model.tokenizer)
    lengths = [len(ids) for ids in index.model.token_ids([p.text for p in index.passages()])]
    assert 40 < max(lengths) <= 62
    changes = sync(index, folder, index.model.tokenizer, max_tokens=64, overlap=8)
    assert len(changes.unchanged) == 2, "the same length and an eighth of it"


def test_unchanged_documents_are_not_encoded_again(index, folder):
    run(index, folder)
    before = index.model.encoded
    changes = run(index, folder)
    assert changes.unchanged == ["handbook/cacti.txt", "handbook/plants/ferns.md"]
    assert (changes.passages, index.model.encoded) == (0, before)


def test_a_changed_document_is_replaced_completely(index, folder):
    run(index, folder)
    (folder / "cacti.txt").write_text("Cacti hate frost.")
    changes = run(index, folder)
    assert changes.replaced == ["handbook/cacti.txt"]
    texts = [p.text for p in index.passages({"document_id": "handbook/cacti.txt"})]
    assert texts == ["Cacti hate frost."], "no passage of the longer, older text is left"


def test_a_deleted_document_is_removed(index, folder):
    run(index, folder)
    (folder / "cacti.txt").unlink()
    assert run(index, folder).removed == ["handbook/cacti.txt"]
    assert {p.document_id for p in index.passages()} == {"handbook/plants/ferns.md"}


def test_other_folders_and_passages_are_not_changed(index, folder, tmp_path):
    run(index, folder)
    index.add(["A passage of no document."])
    other = tmp_path / "recipes"
    other.mkdir()
    (other / "tea.txt").write_text("Boil water.")
    before = index.count()
    assert run(index, other).removed == []
    assert index.count() == before + 1


def test_another_folder_of_the_same_name_is_refused(index, folder, tmp_path):
    run(index, folder)
    twin = tmp_path / "elsewhere" / "handbook"
    twin.mkdir(parents=True)
    (twin / "a.txt").write_text("Another handbook.")
    before = index.count()
    with pytest.raises(InputError, match="another folder or file named 'handbook'"):
        run(index, twin)
    assert index.count() == before, "nothing is removed"


def test_no_absolute_path_is_stored(index, folder, tmp_path):
    run(index, folder)
    assert all(str(tmp_path) not in str(p) for p in index.passages())


def test_new_split_settings_index_again(index, folder):
    run(index, folder)
    changes = sync(index, folder, index.model.tokenizer, max_tokens=32, overlap=0)
    assert len(changes.replaced) == 2


def test_an_unreadable_document_does_not_stop_the_others(index, folder):
    (folder / "broken.txt").write_bytes(b"\x00\x01binary")
    (folder / "empty.md").write_text("")
    changes = run(index, folder)
    assert set(changes.failed) == {"handbook/broken.txt", "handbook/empty.md"}
    assert len(changes.added) == 2


def test_a_document_that_becomes_unreadable_keeps_its_passages(index, folder):
    run(index, folder)
    (folder / "cacti.txt").write_bytes(b"\x00\x01binary")
    assert "handbook/cacti.txt" in run(index, folder).failed
    assert index.count({"document_id": "handbook/cacti.txt"}) > 1


def test_an_interrupted_run_is_resumed(index, folder):
    for i in range(6):
        (folder / f"notes{i}.txt").write_text(f"Note {i}.\n\n" + f"Plant {i} needs water. " * 200)

    def interrupt(stage, done, total):
        if stage == "passages" and done >= 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(index, folder, progress=interrupt)
    assert "m3rag-read" not in {thread.name for thread in threading.enumerate()}
    kept = index.count()
    assert kept >= 64
    changes = run(index, folder)
    assert changes.unchanged, "documents that were complete are skipped"
    assert changes.passages < index.count()
    whole = M3Index.open(model=index.model)
    run(whole, folder)
    assert {p.id for p in index.passages()} == {p.id for p in whole.passages()}


def test_a_failing_store_loses_nothing_that_was_reported(index, folder, monkeypatch):
    monkeypatch.setattr(
        index._store, "add", lambda points: (_ for _ in ()).throw(StorageError("full"))
    )
    with pytest.raises(StorageError, match="full"):
        run(index, folder)
    monkeypatch.undo()
    assert len(run(index, folder).added) == 2


def test_progress_ends_at_the_total(index, folder):
    reports = {}
    run(index, folder, progress=lambda stage, *state: reports.update({stage: state}))
    assert reports["indexing"] == (sum(file.stat().st_size for file in find(folder)),) * 2
    assert reports["passages"] == (index.count(), None)


def test_no_such_folder(index, tmp_path):
    with pytest.raises(DocumentError, match="nowhere"):
        run(index, tmp_path / "nowhere")


def test_a_folder_without_documents(index, tmp_path):
    (tmp_path / "image.png").write_bytes(b"png")
    with pytest.raises(DocumentError, match="other file to index"):
        run(index, tmp_path)


def test_odd_entries_are_reported_and_stop_nothing(index, folder):
    os.mkfifo(folder / "pipe.md")
    (folder / "passwd.txt").symlink_to("/etc/passwd")
    (folder / "gone.md").symlink_to("nowhere")
    changes = run(index, folder)
    assert set(changes.skipped) == {"handbook/pipe.md", "handbook/passwd.txt"}
    assert set(changes.failed) == {"handbook/gone.md"}
    assert changes.added == ["handbook/cacti.txt", "handbook/plants/ferns.md"]
    assert {p.document_id for p in index.passages()} == set(changes.added)


def test_what_cannot_be_read_now_keeps_its_passages(index, folder, tmp_path):
    (tmp_path / "mounted").mkdir()
    (tmp_path / "mounted" / "moss.md").write_text("Moss drinks dew.")
    (folder / "linked").symlink_to("../mounted")
    assert "handbook/linked/moss.md" in run(index, folder, follow_links=True).added
    (tmp_path / "mounted").rename(tmp_path / "away")
    (folder / "cacti.txt").unlink()
    (folder / "cacti.txt").symlink_to("nowhere")
    changes = run(index, folder, follow_links=True)
    assert changes.removed == []
    assert set(changes.failed) == {"handbook/linked", "handbook/cacti.txt"}
    assert index.count({"document_id": "handbook/linked/moss.md"}) == 1
    (folder / "linked").unlink()
    assert run(index, folder, follow_links=True).removed == ["handbook/linked/moss.md"]


def test_a_document_that_becomes_a_pipe_or_a_link_out_is_removed(index, folder):
    run(index, folder)
    (folder / "cacti.txt").unlink()
    os.mkfifo(folder / "cacti.txt")
    (folder / "plants" / "ferns.md").unlink()
    (folder / "plants" / "ferns.md").symlink_to("/etc/passwd")
    (folder / "new.md").write_text("Moss.")
    changes = run(index, folder)
    assert changes.removed == ["handbook/cacti.txt", "handbook/plants/ferns.md"]
    assert [p.text for p in index.passages()] == ["Moss."]


def test_a_document_above_a_limit_is_not_read(index, folder):
    changes = run(index, folder, limits=Limits(file_bytes=100))
    assert "more than the limit of 100 bytes" in changes.failed["handbook/cacti.txt"]
    assert changes.added == ["handbook/plants/ferns.md"]


def test_a_document_whose_passages_cannot_be_stored_stops_no_other(index, folder):
    limits = Limits(metadata_bytes=300)
    (folder / "title.md").write_text(f"# {'long ' * 200}\n\nText.")
    changes = run(index, folder, limits=limits)
    assert set(changes.failed) == {"handbook/title.md"}
    assert len(changes.added) == 2


def test_the_stamp_is_of_the_text_that_was_indexed(index, folder):
    """A file that changes between the two times it is read is indexed again if it changes back."""
    path = folder / "cacti.txt"
    first = path.read_text()
    before = index.add

    def add(passages, **options):
        path.write_text("Cacti hate frost.")
        return before(passages, **options)

    index.add = add
    run(index, folder)
    index.add = before
    path.write_text(first)
    assert run(index, folder).replaced == ["handbook/cacti.txt"]
    assert run(index, folder).replaced == []


def test_a_folder_without_documents_names_what_it_has(folder, index, tmp_path):
    odd = tmp_path / "odd"
    odd.mkdir()
    (odd / "gone.md").symlink_to("nowhere")
    with pytest.raises(DocumentError, match=r"to index.*odd/gone\.md: It is a link to nothing"):
        documents_in(odd)
    with pytest.raises(DocumentError, match="file to index"):
        run(index, odd)


def test_a_single_file_is_synced(index, tmp_path):
    path = tmp_path / "box.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.md", "# Ferns\n\nFerns like shade.\n")
    (tmp_path / "box.md").write_text("Moss.")
    assert sync(index, path, index.model.tokenizer).added == ["box.zip"]
    assert sync(index, path, index.model.tokenizer).unchanged == ["box.zip"]
    assert sync(index, tmp_path / "box.md", index.model.tokenizer).added == ["box.md"]
    assert {p.document_id for p in index.passages()} == {"box.zip/a.md", "box.md"}
    assert documents_in(path) == [path]
    (tmp_path / "a.bin").write_bytes(b"x")
    with pytest.raises(DocumentError, match="unknown suffix"):
        sync(index, tmp_path / "a.bin", index.model.tokenizer)
