"""Files of strangers are read within limits, and ours are replaced whole or not at all."""

import errno
import gzip
import io
import os
import stat
import threading

import pytest
import zstandard

from m3rag.errors import InputError, StorageError
from m3rag.files import json_value, lines, write_bytes, written
from m3rag.limits import Limits

PACK = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}


@pytest.fixture(params=PACK)
def ending(request):
    return request.param


def packed(folder, ending, content):
    path = folder / f"lines.jsonl{ending}"
    path.write_bytes(PACK[ending](content))
    return path


def refused(path, limits=None):
    """Return the message with which a file is refused."""
    with pytest.raises(InputError) as caught:
        for _ in lines(path, limits=limits or Limits()):
            pass
    assert path.name in str(caught.value)
    assert len(str(caught.value)) < 500
    return str(caught.value)


def test_a_line_beyond_the_limit(tmp_path, ending):
    path = packed(tmp_path, ending, b"short\n" + b"x" * 100 + b"\n")
    assert len(list(lines(path, limits=Limits(text_characters=101)))) == 2
    message = refused(path, Limits(text_characters=100))
    assert "line 2 is longer than 100 bytes" in message


@pytest.mark.parametrize("unit", [b"{}" * 512 + b"\n", b"\0"])
@pytest.mark.parametrize("end", [".gz", ".zst"])
def test_a_file_that_expands_too_much(tmp_path, end, unit):
    path = packed(tmp_path, end, unit * ((24 << 20) // len(unit) + 1))
    assert path.stat().st_size < 100_000
    assert "Limits.archive_ratio" in refused(path)
    assert sum(map(len, lines(path, limits=Limits(archive_ratio=100_000)))) >= 24 << 20


@pytest.mark.parametrize("end", [".gz", ".zst"])
@pytest.mark.parametrize("keep", [0.3, 0.9, -1])
def test_a_file_that_was_cut_off(tmp_path, end, keep):
    """The library for .zst takes the end of such a file for the end of the data."""
    path = packed(tmp_path, end, b"".join(b"%d %s\n" % (i, os.urandom(9)) for i in range(20_000)))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep) if keep > 0 else -1])
    assert "EOFError" in refused(path)


def test_every_frame_of_a_file_is_read(tmp_path):
    path = tmp_path / "two.zst"
    path.write_bytes(zstandard.compress(b"one\n") + zstandard.compress(b"two\n"))
    assert list(lines(path)) == [b"one\n", b"two\n"]
    path.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    assert list(lines(path.rename(tmp_path / "two.gz"))) == [b"one\n", b"two\n"]


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "fifo.jsonl")
    os.symlink("/dev/zero", tmp_path / "zero.jsonl")
    os.symlink("self.jsonl", tmp_path / "self.jsonl")
    for name in ("fifo", "zero", "self", "missing", "x" * 300, "a\0b"):
        with pytest.raises(InputError):
            list(lines(tmp_path / f"{name}.jsonl"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"a":' * 100_000, "nested too deep"),
        ("9" * 5_000, "4300 digits"),
        (r'["half \ud800"]', "surrogate"),
        (r'{"\uDFFF": 1}', "surrogate"),
        (b'"\xff"', "utf-8"),
        (b'"\0"', "control character"),
        ('"\ud800"', "surrogate"),
        ("", "Expecting value"),
    ],
    ids=range(9),
)
def test_json_that_is_refused(text, reason):
    with pytest.raises(InputError, match=reason) as caught:
        json_value(text)
    assert len(str(caught.value)) < 300


def test_json_that_is_read():
    assert json_value(r'"\ud83c\udf31 \\ud800"') == "🌱 \\ud800"
    assert json_value('["ü"]'.encode()) == ["ü"]


@pytest.fixture(params=[lambda path: write_bytes(path, b"new"), lambda path: through_stream(path)])
def write(request):
    return request.param


def through_stream(path):
    with written(path) as file:
        file.write(b"new")


def test_a_file_is_replaced_and_nothing_else_stays(tmp_path, write):
    path = tmp_path / "record.json"
    path.write_bytes(b"old")
    write(path)
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == [path.name]
    umask = os.umask(0o22)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_a_failed_write_leaves_the_old_file(tmp_path, write, monkeypatch, call, code):
    """The system calls fail as on a full or broken disk."""

    def fail(*_args, **_options):
        raise OSError(code, os.strerror(code))

    path = tmp_path / "record.json"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StorageError, match=r"record\.json cannot be written \(\w+: .*\)") as caught:
        write(path)
    assert os.strerror(code) in str(caught.value)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]


def test_the_file_and_its_folder_are_flushed(tmp_path, write, monkeypatch):
    flushed = []
    real = os.fsync

    def fsync(descriptor):
        flushed.append(os.fstat(descriptor))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write(tmp_path / "record.json")
    kinds = [stat.S_IFMT(status.st_mode) for status in flushed]
    assert kinds == [stat.S_IFREG, stat.S_IFDIR]
    assert flushed[0].st_size == 3
    assert flushed[1].st_ino == tmp_path.stat().st_ino


def test_a_full_disk():
    """/dev/full is a disk that is full."""
    if not os.path.exists("/dev/full"):
        pytest.skip("needs Linux")
    from m3rag import files

    target = files._Target.__new__(files._Target)
    io.FileIO.__init__(target, "/dev/full", "wb")
    target._path = files.Path("out.jsonl")
    with pytest.raises(StorageError, match=r"out\.jsonl cannot be written .*No space.*Free some"):
        target.write(b"x")
    target.close()


def test_names_that_cannot_be_written(tmp_path, write):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(StorageError, match="cannot be written"):
            write(path)
    folder = tmp_path / "folder"
    (folder / "full").mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot be written"):
        write(folder)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_an_error_of_the_body_stays_what_it_is(tmp_path, ending):
    def interrupted(path):
        with written(path) as file:
            file.write(b"x" * 100_000)
            raise FileNotFoundError("mine")

    with pytest.raises(FileNotFoundError, match="mine"):
        interrupted(tmp_path / f"out.jsonl{ending}")
    assert os.listdir(tmp_path) == []


def test_two_writers(tmp_path, ending):
    path = tmp_path / f"out.jsonl{ending}"
    contents = [bytes([65 + i]) * 300_000 + b"\n" for i in range(4)]
    errors = []

    def work(content):
        try:
            for _ in range(5):
                with written(path) as file:
                    for start in range(0, len(content), 10_000):
                        file.write(content[start : start + 10_000])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert b"".join(lines(path)) in contents
    assert os.listdir(tmp_path) == [path.name]


def test_a_device_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for refused in (lambda: write_bytes(pipe, b"x"), lambda: written(pipe).__enter__()):
        with pytest.raises(StorageError, match="not a regular file"):
            refused()
    assert pipe.is_fifo()
