"""Streams, tables, bars, JSON, warnings and the end of a command, without a model."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time
import warnings

import pytest
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from m3rag.cli.bars import IndexingBar, counter, stage_bars
from m3rag.cli.output import OutputClosedError, Terminal, print_json, safe_streams, shown
from m3rag.cli.reporting import parsing, reading, report, writing
from m3rag.errors import InputError, StorageError
from tests.cli.hostile import HOSTILE, check
from tests.conftest import hear_ctrl_c

PRINT = "from m3rag.cli.output import *\nfrom m3rag.cli.reporting import report\n"
HEARING = "with safe_streams():\n    try:\n        "
ENDING = (
    "\n        flush()\n    except Exception as error:\n        raise SystemExit(report(error))\n"
)


def python(code, *, environment=None, **options):
    """Run code in the frame of a command; returns the finished process, with bytes."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run(
        [sys.executable, "-c", PRINT + HEARING + code + ENDING],
        env=os.environ | {"PYTHONUNBUFFERED": ""} | (environment or {}),
        timeout=60,
        check=False,
        **options,
    )


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_lines_tables_and_bars_show_data(text, capsys):
    console = Terminal()
    console.say("name ", text, " end")
    table = Table("head", title=shown(text))
    table.add_row(shown(text))
    console.print(table)
    with stage_bars() as progress:
        progress(text, 1, 2)
    with counter("units") as progress:
        progress("x", 1, None)
    with IndexingBar(text) as bar:
        bar.report("passages", 1, None)
    out, err = capsys.readouterr()
    assert check(out, err, 0) == ""
    first, second = out.splitlines()[:2]
    assert first.startswith("name ")
    assert first.endswith(" end")
    assert "end" not in second


def test_markup_and_emoji_codes_are_printed(capsys):
    Terminal().say(HOSTILE["markup"] + HOSTILE["emoji code"])
    assert capsys.readouterr().out == f"{HOSTILE['markup']}{HOSTILE['emoji code']}\n"


def test_colours_are_those_of_rich_only(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    Terminal().say(shown("\x1b[31m\x1b[2J", "bold"))
    assert capsys.readouterr().out == "\x1b[1m\\x1b[31m\\x1b[2J\x1b[0m\n"


def test_what_others_write_to_standard_error_is_data(capsys):
    with safe_streams():
        sys.stderr.write(warnings.formatwarning("a\x1b[2J\nFORGED: \udcff", UserWarning, "f", 1))
        logging.lastResort.handle(logging.makeLogRecord({"msg": "b\x1b]0;x\x07", "levelno": 40}))
        sys.stderr.write("c\x9b31m\n")
        sys.stderr.write("\x1b[31mred\x1b[0m\n")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "Warning: UserWarning: a\\x1b[2J\\nFORGED: \\xff",
        "b\\x1b]0;x\\x07",
        "c\\x9b31m",
        "red",
    ]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_utf8_and_keeps_the_value(text, encoding, monkeypatch, tmp_path):
    with (tmp_path / "out").open("w", encoding=encoding) as file:
        monkeypatch.setattr(sys, "stdout", file)
        print_json({text: [text, "é", float("nan"), -float("inf"), 1.5]})
    written = (tmp_path / "out").read_bytes().decode("utf-8")
    assert written.count("\n") == 1
    assert json.loads(written) == {text: [text, "é", None, None, 1.5]}
    assert check(written, "", 0) == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_any_encoding_of_the_streams(encoding, locale):
    code = f"[Terminal(stderr=e).say(t) for t in {[*HOSTILE.values(), 'é…💡']!r} for e in (0, 1)]"
    ended = python(code, environment={"LC_ALL": locale, "PYTHONIOENCODING": encoding})
    assert ended.returncode == 0, ended.stderr
    out, err = (stream.decode(encoding) for stream in (ended.stdout, ended.stderr))
    assert check(out, err, 0) == ""
    assert out == err


def test_a_reader_that_closes_the_output_ends_it_quietly():
    code = f"{PRINT}{HEARING}[Terminal().say('x' * 1000) for _ in range(10_000)]{ENDING}"
    shell = f'"{sys.executable}" -c "$CODE" | head -n 1; echo ${{PIPESTATUS[0]}}'
    ended = subprocess.run(
        ["bash", "-c", shell], env=os.environ | {"CODE": code}, capture_output=True, check=True
    )
    assert ended.stderr == b""
    assert ended.stdout.split()[-1] == b"141"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux")
@pytest.mark.parametrize("code", ["Terminal().say('x')", "print_json([1])", "print('x')"])
def test_a_full_disk_for_the_output_is_one_line(code):
    with open("/dev/full", "w") as full:
        ended = python(code, stdout=full)
        assert ended.returncode == 1
        assert ended.stderr == (
            b"Error: InputError: Standard output cannot be written: No space left on device. Send "
            b"it to another place, or make space there.\n"
        )
        ended = python("Terminal(stderr=True).say('x')", stderr=full)
        assert (ended.returncode, ended.stdout) == (0, b"")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_error(closed):
    code = f"{PRINT}{HEARING}Terminal().say('x'); print_json(1); report(OSError('y')){ENDING}"
    shell = f'"{sys.executable}" -c "$CODE" {closed}'
    ended = subprocess.run(
        ["bash", "-c", shell], env=os.environ | {"CODE": code}, capture_output=True, check=False
    )
    assert ended.returncode == 0
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (InputError("a\nFORGED\x1b[2J"), 1, r"InputError: a\nFORGED\x1b[2J"),
        (OSError(errno.EMFILE, "Too many open files", "x\n"), 1, "StorageError: Too many open fil"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "StorageError: No space left on de"),
        (PermissionError(errno.EACCES, "Permission denied", b"a\xff"), 1, r"denied (a\xff). Check"),
        (FileNotFoundError(errno.ENOENT, "No such file", "[/x]"), 1, "No such file ([/x])."),
        (OSError("odd"), 1, "InputError: odd."),
        (RecursionError("deep"), 1, "InputError: The input is nested too deeply."),
        (MemoryError(), 1, "MemoryError: There is not enough memory."),
        (UnicodeEncodeError("utf-8", "x\ud800", 1, 2, "no"), 1, r"\ud800 at character 2"),
        (UnicodeDecodeError("utf-8", b"x\xff", 1, 2, "no"), 1, r"\xff at byte 2"),
        (ValueError("embedded null byte"), 1, "InputError: A path contains a NUL character."),
        (KeyError("\x1b[2J"), 1, "This is a bug in m3rag: please report it"),
        (InputError("y" * 1_000_000), 1, "y … y"),
        (KeyboardInterrupt(), 130, "Stopped."),
        (OutputClosedError(), 141, ""),
    ],
)
def test_every_error_is_one_line_with_its_kind(error, status, message, capsys):
    assert report(error) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == (status != 141)
    assert len(err) < 2_200
    assert "\x1b" not in err
    assert err.startswith("Error: ") == (status == 1)


def test_the_traceback_is_there_on_request(monkeypatch, capsys):
    monkeypatch.setenv("M3RAG_TRACEBACK", "1")
    with pytest.raises(KeyError) as raised:
        raise KeyError("\x1b[2J")
    assert report(raised.value) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):\n")
    assert "\x1b" not in err


def test_files_are_named_by_the_errors_about_them():
    for error in (RecursionError(), TypeError("t"), UnicodeError("u"), OSError(2, "o"), KeyError()):
        with (
            pytest.raises(InputError, match=r"data\.jsonl cannot be read: "),
            reading("data.jsonl"),
        ):
            raise error
    with pytest.raises(StorageError), reading("x"), parsing("x"), writing("x"):
        raise StorageError("kept")
    with pytest.raises(KeyError), parsing("x"):
        raise KeyError
    with pytest.raises(InputError, match=r"page cannot be written: Denied\."), writing("page"):
        raise PermissionError(errno.EACCES, "Denied")


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_is_one_line():
    process = subprocess.Popen(
        [sys.executable, "-m", "m3rag", "encode", "--model", "tiny"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=hear_ctrl_c,
    )
    time.sleep(3)  # it waits for standard input
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    # A shell shows 130 for both: ended by `main`, or by the signal while Python was ending.
    assert process.returncode in (130, -signal.SIGINT)
    assert (out, err) == (b"", b"Stopped.\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ask", "x", "--in", "kb", "--no\x1b[2J"], r"No such option: --no\x1b[2J"),
        (["ask", "x", "--in", "kb", "-k", "\x1b[2J"], "Invalid value for '-k'"),
        (["ask", "x", "--in", "kb", "-k", "9" * 5_000], "Invalid value for '-k'"),
        (["ask"], "Missing"),
        (["\x1b[2J\nFORGED"], r"No such command '\x1b[2J\nFORGED'"),
        (["train", "\x1b[2J[/x]"], r"No such command '\x1b[2J[/x]'"),
    ],
)
def test_wrong_usage_is_plain_text(m3rag, arguments, message):
    code, out, err = m3rag(*arguments)
    assert code == 2
    assert check(out, err, code) == ""
    usage, hint, error = err.splitlines()
    assert usage.startswith("Usage: ")
    assert hint.endswith(" --help' for help.")
    assert message in error


def test_no_arguments_are_help(m3rag):
    code, out, err = m3rag()
    assert code in (0, 2)
    assert "Usage:" in out
    assert "Error" not in err


def test_a_pipe_is_neither_wrapped_nor_padded(capsys, monkeypatch):
    text = "long " * 60

    def printed():
        Terminal().print(Padding(Text(f"{text}\nshort"), (0, 0, 1, 3), expand=False))
        return capsys.readouterr().out

    monkeypatch.delenv("COLUMNS", raising=False)
    assert printed() == f"   {text.rstrip()}\n   short\n\n"
    monkeypatch.setenv("COLUMNS", "40")
    wrapped = printed().splitlines()
    assert max(map(len, wrapped)) <= 40
    assert all(line == line.rstrip() for line in wrapped)
