"""Reading regular files and nothing else: no devices, no pipes, nothing larger than the limit."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m3rag.errors import DocumentError
from m3rag.limits import Limits

_CHUNK = 1 << 20  # bytes in one read
# A pipe or a device must neither block nor become the terminal of this process. Systems without
# one of these flags do not have the kind of file that it is for.
_FLAGS = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):
    _FLAGS |= getattr(os, _name, 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0) | _NO_LINK
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISLNK, "a link"),
)


def kind_of(mode: int) -> str:
    """Return what a file that is not a regular file is, such as "a socket"."""
    return next((kind for test, kind in _KINDS if test(mode)), "a special file")


def visible(path: object) -> str:
    r"""Return a path as valid Unicode; a byte that is not UTF-8 becomes `\xff`."""
    text = str(path)
    try:
        return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:  # half of a surrogate pair, which no system makes of a byte
        return text.encode(errors="backslashreplace").decode()


def size_text(size: float) -> str:
    """Return a number of bytes for people, such as "20 GB"; 1 KB is 1,024 bytes."""
    for unit in ("bytes", "KB", "MB", "GB", "TB"):
        if size < 1024 or unit == "TB":
            break
        size /= 1024
    return f"{size:.3g} {unit}" if size < 1000 else f"{size:.0f} {unit}"


def chunks(path: Path, limits: Limits, *, within: Path | None = None) -> Iterator[bytes]:
    """Yield the content of a regular file.

    Whatever the path leads to when it is opened is checked before anything of it is read.

    Args:
        path: The file.
        limits: `file_bytes` is the largest size.
        within: A folder above the file. No link below it is followed, even if a folder on the way
            is replaced by one now.

    Raises:
        DocumentError: The path leads to something else than a regular file, the file is too
            large, or it cannot be read.
    """
    total = 0
    try:
        with _opened(path, within) as file:
            status = os.fstat(file)
            _check(path, status, limits)
            while chunk := os.read(file, _CHUNK):
                total += len(chunk)
                if total > limits.file_bytes:
                    raise too_large(path, total, limits)
                yield chunk
    except (OSError, ValueError) as error:
        raise cannot_read(path, error) from None


def cannot_read(path: object, error: OSError | ValueError) -> DocumentError:
    """Return the error for a path that the system cannot open, list or read."""
    shown = visible(path) if "\0" not in str(path) else repr(str(path))
    if isinstance(error, DocumentError):
        return error
    if isinstance(error, FileNotFoundError | NotADirectoryError | ValueError):
        return DocumentError(f"{shown} does not exist.")
    if isinstance(error, PermissionError):
        return DocumentError(f"{shown} cannot be read: permission denied. Change its permissions.")
    return DocumentError(f"{shown} cannot be read: {error.strerror or error}.")


@contextmanager
def _opened(path: Path, within: Path | None) -> Iterator[int]:
    file = _open_within(within, path) if within and _NO_LINK else _open(path)
    try:
        yield file
    finally:
        os.close(file)


def _open(path: Path) -> int:
    # Opening alone can rewind a tape or start a device, so look first. What counts is the check of
    # the opened file: the path may lead elsewhere by then.
    _check(path, path.stat(), None)
    return os.open(path, _FLAGS)


def _open_within(folder: Path, path: Path) -> int:
    """Open a file below a folder one name after the other, without following a link."""
    *parents, name = path.relative_to(folder).parts
    at = os.open(folder, _FOLDER)
    try:
        for parent in parents:
            deeper = os.open(parent, _FOLDER, dir_fd=at)
            os.close(at)
            at = deeper
        _check(path, os.stat(name, dir_fd=at, follow_symlinks=False), None)
        return os.open(name, _FLAGS | _NO_LINK, dir_fd=at)
    finally:
        os.close(at)


def _check(path: Path, status: os.stat_result, limits: Limits | None) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise DocumentError(
            f"{visible(path)} is {kind_of(status.st_mode)}, not a file. Only files are read."
        )
    if limits is not None and status.st_size > limits.file_bytes:
        raise too_large(path, status.st_size, limits)


def too_large(path: Path, size: int, limits: Limits) -> DocumentError:
    """Return the error for a file with more bytes than the limit."""
    return DocumentError(
        f"{visible(path)} has {size_text(size)}, more than the limit of "
        f"{size_text(limits.file_bytes)}. Split it, or raise the limit: --max-file-size, or "
        "Limits(file_bytes=…)."
    )
