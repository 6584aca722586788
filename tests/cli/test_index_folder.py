"""`m3rag index`: what it says was left out, and documents on standard input."""

import io
import json
import sys

import pytest

from m3rag.cli.index_report import print_changes
from m3rag.index.changes import Changes
from tests.documents.pdf_writer import pdf


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "handbook"
    folder.mkdir()
    return folder


@pytest.fixture
def index(m3rag, tmp_path, monkeypatch):
    """Return a function that runs `m3rag index`, with bytes on standard input if it gets some."""

    def index(source, *options, data=None):
        if data is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        return m3rag("index", source, "--to", tmp_path / "kb", "--model", "tiny", *options)

    return index


def test_the_summary_says_what_was_left_out_and_why(index, folder):
    for i, suffix in enumerate(["psd"] * 3 + ["mp4"] * 2 + ["x"]):
        (folder / f"{i}.{suffix}").write_text("x")
    for name in ("a.md", "b.md", "c.log.md", "drafts/d.md", ".git/e.md", "Makefile"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("# Ferns\n\nFerns like shade.\n")
    (folder / ".m3ragignore").write_text("drafts/\n")
    code, out, _ = index(folder, "--exclude", "*.log.md", "--exclude", "!nothing")
    assert code == 0
    assert out.splitlines()[0].startswith("1 added, 1 equal to another; 1 passages stored, 1 in ")
    assert out.splitlines()[1:] == [
        "7 files skipped: 3 .psd, 2 .mp4, 1 .x, 1 without a suffix.",
        "3 excluded: 1 by *.log.md (exclude), 1 by .* (default), 1 by drafts/ (.m3ragignore, "
        "line 1).",
    ]
    _, out, _ = index(folder, "--json")
    found = json.loads(out)
    assert found["other"] == {".psd": 3, ".mp4": 2, ".x": 1, "": 1}
    assert found["excluded"].keys() == {"handbook/.git/", "handbook/drafts/"}
    assert found["added"] == []
    assert found["duplicates"].keys() == {"handbook/b.md", "handbook/c.log.md"}
    code, _, err = index(folder, "--exclude", "[z-a]")
    assert (code, "exclude: '[z-a]' is no pattern" in err) == (1, True)
    (folder / ".m3ragignore").write_text("\n!\n")
    code, _, err = index(folder)
    assert (code, ".m3ragignore, line 2: '!' is no pattern" in err) == (1, True)


def test_an_emptied_folder_and_a_renamed_file(index, folder):
    (folder / "a.md").write_text("Ferns like shade.")
    index(folder)
    (folder / "a.md").rename(folder / "b.md")
    assert index(folder)[1].startswith("1 renamed; 0 passages stored, 1 in ")
    (folder / "b.md").unlink()
    code, out, _ = index(folder)
    assert code == 0
    assert out.splitlines()[0].startswith("1 removed; 0 passages stored, 0 in ")
    assert out.splitlines()[1].startswith("handbook has no documents any more. If they are only")


def test_standard_input_is_a_document(index, folder):
    assert index("-", data=b"Ferns like shade.")[1].startswith("1 added; 1 passages stored, 1 in")
    _, out, _ = index("-", "--name", "report.pdf", "--json", data=pdf("Moss drinks dew."))
    assert json.loads(out)["added"] == ["report.pdf"]
    code, out, _ = index("-", data=pdf("Moss drinks dew."))
    assert (code, "not indexed: stdin.txt: It is a PDF file" in out) == (1, True)
    cases = {
        ("-", "--name", "a.bin"): "unknown suffix '.bin'",
        ("-", "--name", "a/b.md"): "is no name for a document",
        ("-", "--exclude", "*.md"): "--exclude is for folders",
        ("-", "--max-file-size", "4"): "more than the limit of 4 bytes",
        (folder, "--name", "a.md"): "--name is for standard input",
    }
    for arguments, message in cases.items():
        code, _, err = index(*arguments, data=b"Ferns")
        assert (code, message in err) == (1, True), err


def test_long_lists_are_shortened(capsys, tmp_path):
    changes = Changes(
        other={f".{i:02}": i for i in range(1, 30)},
        failed={f"handbook/{i}.md": f"{tmp_path}/{i}.md is empty." for i in range(250)},
    )
    print_changes(changes, "kb", 0, as_json=False)
    first, kinds, *failed = capsys.readouterr().out.splitlines()
    assert first == "no changes; 0 passages stored, 0 in kb."
    assert kinds == (
        "435 files skipped: 29 .29, 28 .28, 27 .27, 26 .26, 25 .25, 24 .24, 23 .23, 22 .22, "
        "231 of 21 other kinds."
    )
    assert len(failed) == 101
    assert failed[0] == "not indexed: handbook/0.md: It is empty."
    assert failed[-1] == "not indexed: 150 more; --json lists all."
