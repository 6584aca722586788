"""Files that a command writes: whole, or not at all, and never in place of a device."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from m3rag.cli.reporting import TEMPORARY, writing
from m3rag.errors import InputError


def check_page(path: Path) -> None:
    """Check that a page can probably be written, before the work for it begins.

    Raises:
        InputError: The path is a folder, or its folder does not exist.
    """
    with writing(path):
        _kind(path)
        if not path.parent.is_dir():
            raise InputError(
                f"{path} cannot be written: there is no folder {path.parent}. Create it first."
            )


def check_file(path: Path) -> None:
    """Check that a path names a regular file, or a new one: another kind would be replaced.

    Raises:
        InputError: It is a folder, a pipe or a device.
    """
    with writing(path):
        if _kind(path) not in (0, stat.S_IFREG):
            raise InputError(f"{path} cannot be written: it is a pipe or a device. Name a file.")


def write_page(path: Path, content: str) -> None:
    """Write an HTML page; a file that exists is replaced when the new one is complete.

    A pipe that is being read and a device, such as /dev/stdout, are written directly.

    Raises:
        InputError: The page cannot be written.
    """
    page = content.encode("utf-8", "backslashreplace")
    with writing(path):
        if _kind(path) in (stat.S_IFIFO, stat.S_IFCHR):
            _write_through(path, page)
        else:
            _replace(Path(os.path.realpath(path)), page)  # a link stays a link


def _kind(path: Path) -> int:
    """Return the kind of file that exists at a path; 0 if there is none.

    Raises:
        InputError: It is a folder, a socket or a disk.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        return 0
    if kind not in (stat.S_IFREG, stat.S_IFIFO, stat.S_IFCHR):
        what = "a folder" if kind == stat.S_IFDIR else "not a regular file"
        raise InputError(f"{path} cannot be written: it is {what}. Name a file, such as page.html.")
    return kind


def _write_through(path: Path, page: bytes) -> None:
    """Write into a pipe or a device; a pipe that nobody reads is an error instead of a wait."""
    number = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))  # Windows has none
    os.set_blocking(number, True)
    with open(number, "wb") as file:
        file.write(page)


def _replace(path: Path, page: bytes) -> None:
    """Write a new file beside the old one, flush it to the disk and rename it."""
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    number, name = tempfile.mkstemp(prefix=TEMPORARY, suffix=".new", dir=path.parent)
    try:
        with open(number, "wb") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, _mode(path))
        os.replace(name, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


def _mode(path: Path) -> int:
    """Return the permissions of the file that is replaced, or those of a new file."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        mask = os.umask(0o077)
        os.umask(mask)
        return 0o666 & ~mask
