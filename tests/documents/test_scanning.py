"""Odd entries of a folder: each is reported, and none hides the others."""

import os
import socket
import unicodedata
from pathlib import Path

import pytest

from m3rag import M3Index
from m3rag.documents import find, read, scan
from m3rag.documents.regular import chunks, size_text
from m3rag.errors import DocumentError, InputError
from m3rag.limits import DEFAULT_LIMITS, Limits

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such entries")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "handbook"
    folder.mkdir()
    (folder / "good.md").write_text("# Ferns")
    return folder


def fifo(path):
    os.mkfifo(path)


def bound_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.getcwd()
        os.chdir(path.parent)  # the path of a socket is limited to about 100 bytes
        try:
            listener.bind(path.name)
        finally:
            os.chdir(before)


def link_to(target):
    def make(path):
        path.symlink_to(target)

    return make


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (fifo, "named pipe"),
        (bound_socket, "socket"),
        (link_to("/dev/zero"), "link to a device"),
        (link_to("/dev/tty"), "link to a device"),
        (link_to("good.md"), "link to a file that is read by another name"),
        (link_to("/etc/passwd"), "outside the folder.*--follow-links"),
        (link_to(".."), "link to a folder.*--follow-links"),
        (link_to("."), "link to a folder"),
    ],
)
def test_an_entry_that_is_no_document_is_skipped(folder, make, reason):
    make(folder / "odd.md")
    found = scan(folder)
    assert list(found.files) == ["good.md"]
    assert not found.failed
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found.skipped["odd.md"])


@pytest.mark.parametrize(
    ("target", "reason"), [("nowhere.md", "link to nothing"), ("odd.md", "link in a circle")]
)
def test_a_broken_link_is_a_failure(folder, target, reason):
    (folder / "odd.md").symlink_to(target)
    found = scan(folder)
    assert list(found.files) == ["good.md"]
    assert reason in found.failed["odd.md"]


def test_the_files_of_an_index_are_no_documents(folder, tiny):
    M3Index.open(folder / "kb", model=tiny).close()
    assert {"m3rag.json", "passages.db"} <= {path.name for path in (folder / "kb").iterdir()}
    (folder / "other").mkdir()
    (folder / "other" / "m3rag.json").write_text('{"text": "Ferns"}')
    listing = scan(folder)
    assert [*listing.files] == ["good.md", "other/m3rag.json"]
    assert not listing.failed
    assert not listing.skipped


def test_a_device_is_skipped(folder):
    try:
        os.mknod(folder / "odd.md", 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root can make a device")
    assert "device" in scan(folder).skipped["odd.md"]


def test_a_name_that_is_not_utf8_is_a_failure(folder):
    odd = os.fsencode(folder) + b"/odd\xff.md"
    with open(odd, "wb") as file:
        file.write(b"x")
    os.mkdir(os.fsencode(folder) + b"/folder\xfe")
    with open(os.fsencode(folder) + b"/other\xff.png", "wb"):
        pass
    found = scan(folder)
    assert list(found.files) == ["good.md"]
    assert set(found.failed) == {r"odd\xff.md", "folder\\xfe/"}
    with pytest.raises(InputError, match="not valid Unicode"):
        read(os.fsdecode(odd))
    assert read(os.fsdecode(odd), id="odd").metadata["source"].endswith(r"odd\xff.md")
    with pytest.raises(InputError, match="not valid Unicode"):
        read(folder / "good.md", id="\ud800")


def test_a_folder_that_cannot_be_listed_is_a_failure(folder, unprivileged):
    for above in (*list(folder.parents)[:3], folder):
        above.chmod(0o755)
    (folder / "secret").mkdir()
    (folder / "secret").chmod(0)
    with unprivileged():
        if not os.access(folder, os.R_OK, effective_ids=True):
            pytest.skip("the temporary folder belongs to root")
        found = scan(folder)
    assert list(found.files) == ["good.md"]
    assert "Permission denied" in found.failed["secret/"]


def test_names_may_contain_anything_else(folder):
    names = [
        "a\nb.md",
        "\x1b[2J.md",
        "[red]x[nope].md",
        "a.md",
        "A.md",
        "x" * 250 + ".md",
        "%s.md",
    ]
    names += [unicodedata.normalize(form, "Ä.md") for form in ("NFC", "NFD")]
    for name in names:
        (folder / name).write_text(name)
    listed = {name for name in os.listdir(folder) if name != "good.md"}
    assert set(scan(folder).files) == {*listed, "good.md"}
    assert [path.relative_to(folder).as_posix() for path in find(folder)] == sorted(
        {*listed, "good.md"}
    )


def test_folders_may_be_nested_deeper_than_python_recurses(folder):
    before, depth = os.getcwd(), 1_050
    os.chdir(folder)
    try:
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
        with open("deep.md", "w") as file:
            file.write("Moss")
        found = scan(folder)
        [deep] = found.files.keys() - {"good.md"}
        text = b"".join(chunks(found.files[deep], DEFAULT_LIMITS, within=folder))
    finally:  # pytest cannot delete a folder that is so deep
        os.remove("deep.md")
        for _ in range(depth):
            os.chdir("..")
            os.rmdir("d")
        os.chdir(before)
    assert deep == "d/" * depth + "deep.md"
    assert text == b"Moss"


def test_a_folder_with_a_path_too_long_for_the_system_is_a_failure(folder):
    before, depth, name = os.getcwd(), 20, "d" * 250
    os.chdir(folder)
    try:
        for _ in range(depth):
            os.mkdir(name)
            os.chdir(name)
        found = scan(folder)
    finally:
        for _ in range(depth):
            os.chdir("..")
            os.rmdir(name)
        os.chdir(before)
    assert list(found.files) == ["good.md"]
    assert "cannot be listed" in " ".join(found.failed.values())


def test_a_path_longer_than_an_id_is_a_failure(folder):
    deep = folder / "sub" / ("x" * 100 + ".md")
    deep.parent.mkdir()
    deep.write_text("x")
    found = scan(folder, limits=Limits(id_characters=80))
    assert list(found.files) == ["good.md"]
    assert "107 characters" in found.failed["sub/" + deep.name]


def test_a_link_within_the_folder_is_a_document_if_its_file_is_not_listed(folder):
    (folder / ".data").mkdir()
    (folder / ".data" / "real.txt").write_text("Moss")
    (folder / "moss.txt").symlink_to(".data/real.txt")
    (folder / "twin.txt").symlink_to(".data/real.txt")
    found = scan(folder)
    assert found.files["moss.txt"] == folder / ".data" / "real.txt"
    assert "another name" in found.skipped["twin.txt"]


def test_links_are_followed_on_request_and_each_file_is_listed_once(folder, tmp_path):
    (tmp_path / "other" / "sub").mkdir(parents=True)
    (tmp_path / "other" / "moss.md").write_text("Moss")
    (tmp_path / "other" / "sub" / "back").symlink_to("../..")
    (tmp_path / "single.md").write_text("One")
    (folder / "linked").symlink_to("../other")
    (folder / "single.md").symlink_to("../single.md")
    (folder / "again.md").symlink_to("../other/moss.md")
    (folder / "up").symlink_to("..")
    found = scan(folder, follow_links=True)
    reals = [os.path.realpath(path) for path in found.files.values()]
    assert len(set(reals)) == len(reals) == 3
    assert {os.path.basename(path) for path in reals} == {"good.md", "moss.md", "single.md"}
    assert found.skipped
    assert not found.failed
    assert list(scan(folder).files) == ["good.md"]


# Reading one path


@pytest.mark.parametrize("make", [fifo, bound_socket, link_to("/dev/zero"), link_to("/dev/tty")])
@pytest.mark.timeout(20)
def test_what_is_not_a_file_is_not_read(folder, make):
    make(folder / "odd.txt")
    with pytest.raises(DocumentError, match=r"not a file\. Only files are read"):
        read(folder / "odd.txt")


@pytest.mark.parametrize("name", ["a\0.md", "x" * 5_000 + ".md", "good.md/x.md"])
def test_an_impossible_path_is_refused(folder, name):
    with pytest.raises(DocumentError, match=r"does not exist|cannot be read"):
        read(f"{folder}/{name}")


def test_the_size_is_checked_before_reading(folder):
    with open(folder / "sparse.txt", "wb") as file:
        file.truncate(20 << 30)
    with pytest.raises(DocumentError, match=r"20 GB, more than the limit of 256 MB.*--max-file"):
        read(folder / "sparse.txt")
    (folder / "small.txt").write_text("12345")
    assert read(folder / "small.txt", limits=Limits(file_bytes=5)).text == "12345"
    with pytest.raises(DocumentError, match="5 bytes, more than the limit of 4 bytes"):
        read(folder / "small.txt", limits=Limits(file_bytes=4))


def test_a_file_that_grows_is_read_up_to_the_limit(folder):
    path = folder / "log.txt"
    path.write_bytes(b"x" * 10)
    pieces = chunks(path, Limits(file_bytes=20))
    assert next(pieces) == b"x" * 10
    with path.open("ab") as file:
        file.write(b"y" * 100)
    with pytest.raises(DocumentError, match="more than the limit of 20 bytes"):
        list(pieces)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_a_file_that_says_it_is_empty_is_read_up_to_the_limit():
    with pytest.raises(DocumentError, match="more than the limit"):
        list(chunks(Path("/proc/self/smaps"), Limits(file_bytes=100)))


def test_a_part_of_the_path_that_became_a_link_is_not_followed(folder, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "a.md").write_text("Secret")
    (folder / "sub").mkdir()
    (folder / "sub" / "a.md").write_text("Ferns")
    path = scan(folder).files["sub/a.md"]
    assert b"".join(chunks(path, DEFAULT_LIMITS, within=folder)) == b"Ferns"
    (folder / "sub").rename(folder / "old")
    (folder / "sub").symlink_to(secret)
    with pytest.raises(DocumentError):
        list(chunks(path, DEFAULT_LIMITS, within=folder))
    (folder / "sub").unlink()
    (folder / "old").rename(folder / "sub")
    path.unlink()
    path.symlink_to(secret / "a.md")
    with pytest.raises(DocumentError, match="is a link"):
        list(chunks(path, DEFAULT_LIMITS, within=folder))


def test_no_descriptor_is_left_open(folder):
    path = folder / "good.md"
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else None
    next(chunks(path, DEFAULT_LIMITS, within=folder))
    for _ in range(5):
        with pytest.raises(DocumentError):
            list(chunks(folder / "none" / "a.md", DEFAULT_LIMITS, within=folder))
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (5, "5 bytes"),
        (2048, "2 KB"),
        (256 << 20, "256 MB"),
        (20 << 30, "20 GB"),
        (1023, "1023 bytes"),
    ],
)
def test_sizes_are_readable(size, text):
    assert size_text(size) == text
