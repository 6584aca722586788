"""`m3rag index` on folders with odd names and entries: one line for each, and the right status."""

import json
import os
from types import SimpleNamespace

import pytest

from m3rag.cli.index_options import parse_size
from m3rag.errors import InputError

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such entries")
GOOD = "# Ferns\n\nFerns like shade.\n"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "handbook"
    folder.mkdir()
    (folder / "good.md").write_text(GOOD)
    return folder


@pytest.fixture
def index(m3rag, monkeypatch):
    """Run `m3rag index` in this process; `tests/trials` run it in processes of their own."""
    monkeypatch.setenv("COLUMNS", "70")

    def run(folder, *options):
        to = os.path.join(os.path.dirname(folder), "kb")
        code, out, err = m3rag("index", folder, "--model", "tiny", "--to", to, *options)
        assert "Traceback" not in err
        assert "\x1b" not in out + err
        return SimpleNamespace(returncode=code, stdout=out, stderr=err)

    return run


def test_what_is_no_document_is_reported_and_the_status_is_0(index, folder):
    os.mkfifo(folder / "pipe.md")
    (folder / "passwd.txt").symlink_to("/etc/passwd")
    done = index(folder)
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first.startswith("1 added; 1 passages stored")
    assert lines == [
        "skipped: handbook/passwd.txt: It is a link to a file outside the folder. Links are "
        "followed only with --follow-links, or follow_links=True.",
        "skipped: handbook/pipe.md: It is a named pipe (FIFO), not a file.",
    ]


def test_what_cannot_be_read_is_reported_and_the_status_is_1(index, folder):
    (folder / "gone.md").symlink_to("nowhere")
    with open(os.fsencode(folder) + b"/bad\xff.md", "wb") as file:
        file.write(b"x")
    with open(folder / "big.txt", "wb") as file:
        file.truncate(20 << 30)
    done = index(folder, "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["added"] == ["handbook/good.md"]
    assert set(found["failed"]) == {"handbook/gone.md", r"handbook/bad\xff.md", "handbook/big.txt"}
    assert found["skipped"] == {}


@pytest.mark.parametrize("content", [GOOD, ""], ids=["good", "empty"])
def test_a_name_is_shown_as_it_is_and_in_one_line(index, folder, content):
    names = ["a\x1b[2J\x1b]0;x\x07.md", "b\nFORGED: ok.md", "c[red]d.md", "e[].md", ":smile:.md"]
    names.append("\u202efdp.md")
    for name in names:
        (folder / name).write_text(content)
    done = index(folder)
    assert done.returncode == (0 if content else 1)
    assert len(done.stdout.splitlines()) == (1 if content else 1 + len(names))
    if not content:
        for shown in (r"b\nFORGED: ok.md", "c[red]d.md", "e[].md", ":smile:.md", r"\u202efdp.md"):
            assert f"not indexed: handbook/{shown}: " in done.stdout
    listed = json.loads(index(folder, "--json").stdout)
    ids = {f"handbook/{name}" for name in names}
    assert ids <= {*listed["unchanged"], *listed["duplicates"], *listed["failed"]}


def test_a_folder_may_have_any_name(index, tmp_path):
    folder = tmp_path / "a\nb[red]\x1b[31m"
    folder.mkdir()
    (folder / "good.md").write_text(GOOD)
    assert index(folder).returncode == 0
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff")
    os.mkdir(odd)
    with open(f"{odd}/a.md", "w") as file:
        file.write(GOOD)
    done = index(odd)
    assert done.returncode == 1
    assert r"odd\xff is not UTF-8" in done.stderr


def test_links_are_followed_only_on_request(index, folder, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "moss.md").write_text("# Moss\n\nMoss drinks dew.\n")
    (folder / "linked").symlink_to("../other")
    assert json.loads(index(folder, "--json").stdout)["added"] == ["handbook/good.md"]
    found = json.loads(index(folder, "--json", "--follow-links").stdout)
    assert found["added"] == ["handbook/linked/moss.md"]
    assert json.loads(index(folder, "--json").stdout)["removed"] == ["handbook/linked/moss.md"]


def test_the_size_of_a_file_is_limited_by_an_option(index, folder):
    (folder / "long.md").write_text(GOOD * 100)
    found = json.loads(index(folder, "--json", "--max-file-size", "1K").stdout)
    assert "2.64 KB, more than the limit of 1 KB" in found["failed"]["handbook/long.md"]
    assert json.loads(index(folder, "--json").stdout)["added"] == ["handbook/long.md"]
    for options in (["--max-file-size", "lots"], ["--max-seconds", "0"], ["--max-seconds", "nan"]):
        done = index(folder, *options)
        assert done.returncode == 1
        assert done.stderr.startswith("Error: InputError: ")


def test_a_folder_without_documents_says_what_it_has(index, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    os.mkfifo(folder / "pipe.md")
    done = index(folder)
    assert done.returncode == 1
    assert "other file to index. empty/pipe.md: It is a named pipe" in done.stderr


def test_an_empty_name_is_not_the_working_folder(m3rag, tmp_path):
    code, _, err = m3rag("index", "", "--to", tmp_path / "kb", "--model", "tiny")
    assert code == 1
    assert "The folder is empty" in err
    assert not (tmp_path / "kb").exists()


SIZES = {
    "500": 500,
    "1k": 1024,
    "1.5 MB": 3 << 19,
    "2GiB": 2 << 30,
    " 3g ": 3 << 30,
    "1TB": 1 << 40,
}
NO_SIZES = ("", "0", "-1", "1e3", "x", "1PB", "9" * 5_000, "0.0001K", "MB", "1.5.5")


@pytest.mark.parametrize(("text", "size"), SIZES.items())
def test_sizes_have_units(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", NO_SIZES)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(InputError, match="is no size"):
        parse_size(text)
