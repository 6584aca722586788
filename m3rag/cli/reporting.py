"""Every way in which a command can fail, as one line: `Error: Kind: message`."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.text import Text

from m3rag.cli.output import OutputClosedError, Terminal
from m3rag.cli.visible import line
from m3rag.errors import InputError, M3Error, StorageError

TRACEBACK = "M3RAG_TRACEBACK"
"""The environment variable that asks for the traceback of an error."""

TEMPORARY = ".m3rag-"
"""The beginning of the names of temporary files, which no message mentions."""

FAILED, INTERRUPTED, OUTPUT_CLOSED = 1, 130, 141  # 128 + SIGINT, 128 + SIGPIPE
_USAGE: type[Exception] = typer.BadParameter.__mro__[2]  # click's base: typer has no name for it
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE)
_FIXES = {
    errno.ENOSPC: "Make space there.",
    errno.EDQUOT: "Make space there.",
    errno.EROFS: "Use a file system that can be written.",
    errno.EMFILE: "Raise the limit with `ulimit -n`, then run the command again.",
    errno.ENFILE: "Close other programs, then run the command again.",
    errno.EACCES: "Check its permissions.",
    errno.EPERM: "Check its permissions.",
    errno.ENAMETOOLONG: "Use a shorter name.",
}


class RaisedError(Exception):
    """Carries an exception past typer, which would answer it without a message."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def report(error: BaseException) -> int:
    """Print an error as one line on standard error, and return the exit status."""
    if isinstance(error, OutputClosedError):
        return OUTPUT_CLOSED
    if os.environ.get(TRACEBACK):
        for part in "".join(traceback.format_exception(error)).splitlines():
            Terminal(stderr=True).say(part)
    if isinstance(error, KeyboardInterrupt):
        Terminal(stderr=True).say("Stopped.")
        return INTERRUPTED
    if isinstance(error, _USAGE):
        return _report_usage(error)
    kind, message = _explained(error)
    Terminal(stderr=True).say(Text("Error:", "bold red"), f" {kind}: {message}")
    return FAILED


@contextmanager
def reading(what: object) -> Iterator[None]:
    """Name the file or folder that could not be read inside the `with` block.

    Raises:
        InputError: It could not be read, for a reason that is not an error of ours.
    """
    try:
        with parsing(what):
            yield
    except M3Error:
        raise
    except OSError as error:
        raise InputError(f"{what} cannot be read: {os_reason(error, what)}") from error
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise _unusable(what, error) from error


@contextmanager
def parsing(what: object) -> Iterator[None]:
    """Name the data that could not be parsed inside the `with` block, which does more than that.

    Raises:
        InputError: The data is nested too deeply, or has a text or number that cannot be used.
    """
    try:
        yield
    except RecursionError as error:
        raise InputError(
            f"{what} cannot be read: its JSON is nested too deeply. Use flat data."
        ) from error
    except UnicodeError as error:
        raise InputError(
            f"{what} cannot be read: it has text that is not valid Unicode ({_unicode(error)})."
        ) from error
    except OverflowError as error:
        raise _unusable(what, error) from error


def _unusable(what: object, error: Exception) -> InputError:
    found = line(error, most=200)
    return InputError(f"{what} cannot be read: a value in it has the wrong type or size ({found}).")


@contextmanager
def writing(what: object) -> Iterator[None]:
    """Name the file or folder that could not be written inside the `with` block.

    Raises:
        InputError: It could not be written.
    """
    try:
        yield
    except (OSError, UnicodeError) as error:
        reason = os_reason(error, what) if isinstance(error, OSError) else f"{_unicode(error)}."
        raise InputError(f"{what} cannot be written: {reason}") from error


def os_reason(error: OSError, named: object = None) -> str:
    """Return why the system refused, and what to do about it, as sentences.

    Args:
        error: The error.
        named: A path that the message names already.
    """
    name = "" if error.filename is None else line(os.fsdecode(error.filename), most=500)
    known = not name or name == str(named) or TEMPORARY in name
    place = "" if known else f" ({name})"
    fix = _FIXES.get(error.errno or 0)
    return f"{error.strerror or error}{place}." + (f" {fix}" if fix else "")


def _explained(error: BaseException) -> tuple[str, str]:
    """Return the kind and the message of an error."""
    if isinstance(error, M3Error):
        return type(error).__name__, str(error)
    if isinstance(error, OSError):
        kind = StorageError if error.errno in _FULL else InputError
        return kind.__name__, os_reason(error)
    if isinstance(error, RecursionError):
        return InputError.__name__, "The input is nested too deeply. Use less nesting."
    if isinstance(error, UnicodeError):
        return InputError.__name__, f"A text is not valid Unicode ({_unicode(error)})."
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return InputError.__name__, "A path contains a NUL character. Use another path."
    if isinstance(error, MemoryError) or "failed to map segment" in str(error):  # a library
        return "MemoryError", (
            "There is not enough memory. Use smaller input, or a machine with more of it."
        )
    found = line(error, most=500)
    return type(error).__name__, (
        f"{found or 'no message'}. This is a bug in m3rag: please report it with the output that "
        f"{TRACEBACK}=1 in the environment adds."
    )


def _unicode(error: UnicodeError) -> str:
    """Return what is wrong with a text, without the text."""
    if isinstance(error, UnicodeEncodeError):
        found = line(error.object[error.start : error.start + 1])
        return f"{found} at character {error.start + 1:,}"
    if isinstance(error, UnicodeDecodeError):
        return f"\\x{error.object[error.start]:02x} at byte {error.start + 1:,}"
    return line(error, most=500)


def _report_usage(error: Exception) -> int:
    """Print what is wrong with the arguments, and how to find the right ones."""
    status = int(getattr(error, "exit_code", 2))
    context = getattr(error, "ctx", None)
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if type(error).__name__ == "NoArgsIsHelpError":  # the help is printed already, or the message
        if message:
            typer.echo(message)
        return status
    errors = Terminal(stderr=True)
    if context is not None:
        errors.say(" ".join(context.get_usage().split()))
        errors.say(f"Try '{context.command_path} --help' for help.")
    errors.say(Text("Error:", "bold red"), f" {message}")
    return status
