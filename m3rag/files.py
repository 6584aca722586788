"""Compressed files, line by line or whole, and files that are replaced atomically."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from m3rag.errors import InputError
from m3rag.extras import require


@contextmanager
def opened(path: Path, *, extra: str) -> Iterator[IO[bytes]]:
    """Open a file for reading and decompress it according to its suffix (`.gz`, `.zst`).

    A `UnicodeDecodeError` inside the `with` block also counts as damage.

    Args:
        path: The file.
        extra: The extra that installs the library for `.zst`.

    Raises:
        InputError: The file is damaged or not in the format that its suffix names.
        MissingExtraError: The file ends in `.zst` and zstandard is not installed.
    """
    damage: tuple[type[Exception], ...] = (OSError, EOFError, UnicodeDecodeError, zlib.error)
    if path.suffix == ".zst":
        require("zstandard", extra)
        import zstandard

        damage += (zstandard.ZstdError,)
    try:
        with path.open("rb") as raw, _decompressed(path, raw) as file:
            yield file
    except damage as error:
        raise InputError(f"{path} cannot be read: {type(error).__name__}: {error}.") from error


def lines(path: Path, *, extra: str = "train") -> Iterator[bytes]:
    """Yield the lines of a file, decompressed according to its suffix.

    Raises:
        InputError: The file does not exist or is damaged.
        MissingExtraError: The file ends in `.zst` and zstandard is not installed.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    with opened(path, extra=extra) as file:
        yield from file


@contextmanager
def written(path: Path, *, extra: str = "train") -> Iterator[IO[bytes]]:
    """Open a file for writing and compress it according to its suffix.

    The file replaces `path` when the `with` block ends without an error.

    Raises:
        MissingExtraError: The file ends in `.zst` and zstandard is not installed.
    """
    new = path.with_name(f"{path.name}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with new.open("wb") as raw, _compressed(path, raw, extra) as file:
            yield file
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a small file atomically and flush it to the disk."""
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _decompressed(path: Path, raw: IO[bytes]) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(raw))
    if path.suffix == ".zst":
        import zstandard

        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw))
    return raw


def _compressed(path: Path, raw: IO[bytes], extra: str) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(raw, "wb"))
    if path.suffix == ".zst":
        require("zstandard", extra)
        import zstandard

        return cast(IO[bytes], zstandard.ZstdCompressor().stream_writer(raw, closefd=False))
    return raw
