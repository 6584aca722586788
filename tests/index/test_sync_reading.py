"""What a sync says of documents that are read in part, or in another encoding."""

import pytest

from m3rag import M3Index
from m3rag.errors import InputError
from m3rag.index.sync import sync
from tests.documents.pdf_writer import pdf

RUSSIAN = "Растения поливают, когда почва сухая. Насос работает тридцать секунд."


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "handbook"
    folder.mkdir()
    (folder / "new.md").write_text("# Pump\n\nThe pump runs.\n")
    (folder / "old.txt").write_bytes(RUSSIAN.encode("cp1251"))
    (folder / "scan.pdf").write_bytes(pdf("The first page.", "", "The third page."))
    return folder


def test_pages_without_text_are_named_and_the_others_are_stored(folder, tiny):
    with M3Index.open(model=tiny) as index:
        changes = sync(index, folder, tiny.tokenizer)
        assert changes.incomplete.keys() == {"handbook/scan.pdf"}
        assert "1 of 3 pages (2) without text" in changes.incomplete["handbook/scan.pdf"]
        passages = index.passages({"document_id": "handbook/scan.pdf"})
        assert "third page" in " ".join(passage.text for passage in passages)


def test_an_encoding_is_named_for_the_files_that_need_one(folder, tiny):
    with M3Index.open(model=tiny) as index:
        changes = sync(index, folder, tiny.tokenizer)
        assert "--encoding cp1251" in changes.failed["handbook/old.txt"]
        changes = sync(index, folder, tiny.tokenizer, encoding="windows-1251")
        assert not changes.failed
        [passage] = index.passages({"document_id": "handbook/old.txt"})
        assert passage.text == RUSSIAN
        assert [p.text for p in index.passages({"document_id": "handbook/new.md"})] == [
            "# Pump\n\nThe pump runs."
        ]


def test_an_unknown_encoding_is_refused_once(folder, tiny):
    with (
        M3Index.open(model=tiny) as index,
        pytest.raises(InputError, match="'klingon' is unknown"),
    ):
        sync(index, folder, tiny.tokenizer, encoding="klingon")
