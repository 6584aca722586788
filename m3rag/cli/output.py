"""The output of all commands: what comes from outside is shown as data, whatever it contains.

Each text goes through `line` or `block` of `m3rag.cli.visible` before rich sees it, and rich
interprets no markup and no emoji codes. `safe_streams` covers what others write: warnings, logs and
libraries on standard error.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from typing import IO, Any, cast

from rich.console import Console
from rich.text import Text

from m3rag.cli.visible import block, json_escaped, line, marked_block
from m3rag.cli.visible import line as one_line
from m3rag.errors import InputError

_SHOWN = 700  # characters of a passage that are printed
_ENDLESS = 100_000  # columns; no line of ours is as long
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_MOVES = re.compile(r"(?:\x1b\[A|\n|\r)*")  # what progress bars of other libraries write


class OutputClosedError(Exception):
    """Standard output was closed by its reader, as `head` does."""


class Terminal(Console):
    """A rich console that shows texts as they are: without markup, emoji codes and highlights.

    What goes to a file or a pipe is neither wrapped, unless COLUMNS says so, nor padded.
    """

    def __init__(self, *, stderr: bool = False, quiet: bool = False) -> None:
        stream = _inner(sys.stderr if stderr else sys.stdout) or StringIO()  # closed by the caller
        file = _Unfailing(stream) if stderr else stream
        super().__init__(
            file=cast(IO[str], file), quiet=quiet, markup=False, emoji=False, highlight=False
        )
        self._plain = not stderr and not self.is_terminal
        if self._plain and not os.environ.get("COLUMNS", "").isdecimal():
            self.width = _ENDLESS

    def say(self, *parts: str | Text) -> None:
        """Print one line, which only the terminal itself may wrap; a str may be any text."""
        shown = (part if isinstance(part, Text) else Text(line(part)) for part in parts)
        self.print(Text.assemble(*shown), soft_wrap=True)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does.

        Raises:
            OutputClosedError: The reader of the output has closed it.
            InputError: The output cannot be written.
        """
        with _writing():
            if not self._plain or options.get("soft_wrap"):  # a line of `say` is not padded
                super().print(*objects, **options)
                return
            with self.capture() as captured:
                super().print(*objects, **options)
            lines = captured.get().split("\n")
            self.file.write("\n".join(line.rstrip(" ") for line in lines))

    def on_broken_pipe(self) -> None:
        """Let `print` report it; rich would end the process."""
        raise BrokenPipeError


def shown(text: object, style: str = "") -> Text:
    """Return any text as one line, for a table or as a part of `Terminal.say`."""
    return Text(line(text), style)


def passage(
    text: str, focus: int, marks: Iterable[tuple[int, int, str]] = (), *, most: int = _SHOWN
) -> Text:
    """Return the part of a passage around the character `focus`, with its line breaks.

    Args:
        text: The text of the passage.
        focus: The character that is shown in any case.
        marks: Start, end and style of the spans to highlight, as places in `text`.
        most: The maximum number of characters to show.
    """
    first = max(0, min(focus - most // 3, len(text) - most))
    end = min(first + most, len(text))
    shown, place = marked_block(text[first:end])
    body = Text(shown)
    for start, stop, style in marks:
        if start < end and stop > first:
            body.stylize(style, place(max(start - first, 0)), place(min(stop, end) - first))
    body = Text("… ").append_text(body) if first else body
    return body.append(" …") if end < len(text) else body


def print_json(value: object) -> None:
    """Print a value as one line of JSON that every reader takes.

    It is valid UTF-8, also if standard output has another encoding. NaN and infinity, which JSON
    does not have, become null. Characters that would act on a terminal, and halves of characters,
    are written as escapes, so that the value stays the same.

    Raises:
        OutputClosedError: The reader of the output has closed it.
        InputError: The output cannot be written.
    """
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    only_ascii = encoding != "utf8"
    try:
        text = json.dumps(value, ensure_ascii=only_ascii, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=only_ascii, allow_nan=False)
    if sys.stdout is None:  # closed by the caller
        return
    with _writing():
        sys.stdout.write(json_escaped(text) + "\n")
        sys.stdout.flush()


@contextmanager
def safe_streams() -> Iterator[None]:
    """Make the standard streams safe inside the `with` block.

    Characters that the encoding of a stream lacks are written as escapes. Standard error never
    fails, and what other libraries write there, such as warnings and logs, is shown as data.
    """
    _open_closed_streams()
    before, format_before = sys.stderr, warnings.formatwarning
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # not a file, or closed
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # TextIO
    guard_stderr()
    warnings.formatwarning = _one_line
    try:
        yield
    finally:
        sys.stderr, warnings.formatwarning = before, format_before


def guard_stderr() -> None:
    """Show what other libraries write to standard error as data; also after rich redirected it."""
    if sys.stderr is not None and not isinstance(sys.stderr, _Guard):
        sys.stderr = _Guard(sys.stderr)


def flush() -> None:
    """Write what is buffered, so that a failure is not met when the interpreter exits.

    Raises:
        OutputClosedError: The reader of the output has closed it.
        InputError: The output cannot be written.
    """
    if sys.stdout is not None:
        with _writing():
            sys.stdout.flush()


class _Unfailing:
    """A text stream whose writing never fails: without a place for messages, there are none."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text, or nothing if that is not possible."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, or nothing if that is not possible."""
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except (OSError, ValueError):  # full, closed by its reader, or closed here
            _abandon(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Guard(_Unfailing):
    """A text stream for other libraries, which shows control characters as escapes."""

    def write(self, text: str) -> int:
        """Write a text without colours; moves of a progress bar are kept on a terminal."""
        if not (self.isatty() and _MOVES.fullmatch(text)):
            shown = block(_COLOUR.sub("", text.removeprefix("\r")))
            text = f"\r{shown}" if text.startswith("\r") and self.isatty() else shown
        return super().write(text)


@contextmanager
def _writing() -> Iterator[None]:
    """Turn a failure to write standard output into errors of ours."""
    try:
        yield
    except BrokenPipeError:
        _abandon(sys.stdout)
        raise OutputClosedError from None
    except OSError as error:
        _abandon(sys.stdout)
        raise InputError(
            f"Standard output cannot be written: {error.strerror or error}. Send it to another "
            "place, or make space there."
        ) from None


def _abandon(stream: Any) -> None:
    """Send the rest of a stream nowhere: otherwise it fails again when the interpreter exits."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _open_closed_streams() -> None:
    """Let no file that is opened later take the number of a closed standard stream."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # the lowest free number


def _inner(stream: Any) -> Any:
    """Return the stream below our guard and below rich's proxy."""
    while True:
        if isinstance(stream, _Unfailing):
            stream = stream._stream
        elif hasattr(stream, "rich_proxied_file"):
            stream = stream.rich_proxied_file
        else:
            return stream


def _one_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """Return a warning as one line, without the place in the code."""
    return f"Warning: {category.__name__}: {one_line(message)}\n"


def _finite(value: Any) -> Any:
    """Return a value for JSON in which numbers that are not finite are None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value
