"""Compressed files, line by line or whole, JSON of strangers, and files replaced atomically."""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import json
import os
import re
import secrets
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from m3rag.errors import InputError, StorageError
from m3rag.extras import require
from m3rag.limits import DEFAULT_LIMITS, Limits, brief

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_RATIO_FROM = 16 << 20  # expanded bytes; a small file may be compressed by any ratio
_PACKED = 4096  # bytes of a .zst file at a time, which expand to at most 128 MiB
_NEW = ".new"  # the end of the name of a file that is not yet complete


@contextlib.contextmanager
def opened(path: Path, *, extra: str, limits: Limits = DEFAULT_LIMITS) -> Iterator[IO[bytes]]:
    """Open a file for reading and decompress it according to its suffix (`.gz`, `.zst`).

    A `UnicodeDecodeError` inside the `with` block also counts as damage.

    Args:
        path: The file.
        extra: The extra that installs the library for `.zst`.
        limits: The highest ratio of decompressed to compressed bytes.

    Raises:
        InputError: The file is damaged, not in the format that its suffix names, or expands far
            beyond its size.
        MissingExtraError: The file ends in `.zst` and zstandard is not installed.
    """
    damage: tuple[type[Exception], ...] = (OSError, EOFError, UnicodeDecodeError, zlib.error)
    if path.suffix == ".zst":
        require("zstandard", extra)
        import zstandard

        damage += (zstandard.ZstdError,)
    try:
        with path.open("rb") as raw, _decompressed(path, raw, limits) as file:
            yield file
    except damage as error:
        reason = f"{type(error).__name__}: {brief(error)}"
        raise InputError(f"{path} cannot be read: {reason}.") from error


def lines(path: Path, *, extra: str = "train", limits: Limits = DEFAULT_LIMITS) -> Iterator[bytes]:
    """Yield the lines of a file, decompressed according to its suffix.

    Raises:
        InputError: The file does not exist, is damaged or expands far beyond its size, or a line
            is longer than the limit.
        MissingExtraError: The file ends in `.zst` and zstandard is not installed.
    """
    try:
        regular = path.is_file()
    except (OSError, ValueError) as error:
        raise InputError(f"{brief(path)} cannot be read: {brief(error)}.") from None
    if not regular:
        raise InputError(f"There is no file {path}.")
    most = limits.text_characters
    with opened(path, extra=extra, limits=limits) as file:
        number = 0
        while line := file.readline(most + 1):
            number += 1
            if len(line) > most:
                raise InputError(
                    f"{path}, line {number} is longer than {most:,} bytes (Limits.text_characters)."
                    " Is it a file of lines?"
                )
            yield line


def json_value(text: str | bytes) -> Any:
    """Return the value of a JSON text, whoever wrote it.

    Raises:
        InputError: It is not JSON in UTF-8, is nested too deep, or has a number of thousands of
            digits or half a character. The message is only the reason; say what the text is.
    """
    try:
        text = text.decode() if isinstance(text, bytes) else text.encode().decode()
        value = json.loads(text)
        if _SURROGATE.search(text):  # only an escape brings in a lone one, half a character
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise InputError("lists or objects are nested too deep") from None
    except ValueError as error:
        raise InputError(brief(error)) from None
    return value


@contextlib.contextmanager
def written(path: Path, *, extra: str = "train") -> Iterator[IO[bytes]]:
    """Open a file for writing and compress it according to its suffix.

    The file replaces `path` when the `with` block ends without an error, and is then on the disk.
    Until then, `path` is unchanged, even if the power fails. Of two writers, the last one wins.

    Raises:
        StorageError: The file cannot be written, for example because the disk is full.
        MissingExtraError: The file ends in `.zst` and zstandard is not installed.
    """
    if path.suffix == ".zst":
        require("zstandard", extra)
    new = _unused_name(path)
    try:
        with _reported(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            target = _Target(path, new)
        with contextlib.closing(target), io.BufferedWriter(target) as raw:
            with _compressed(path, raw) as file:
                yield file
            raw.flush()
            with _reported(path):
                os.fsync(raw.fileno())
        with _reported(path):
            os.replace(new, path)
            flush_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a small file atomically and flush it and its folder to the disk.

    Raises:
        StorageError: The file cannot be written, for example because the disk is full. The old file
            is unchanged.
    """
    new = _unused_name(path)
    try:
        with _reported(path):
            with new.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, path)
            flush_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


class _Target(io.FileIO):
    """A new file whose errors say which file could not be written.

    The body of a `with` block may raise an OSError of its own, which must not be taken for one.
    """

    def __init__(self, path: Path, new: Path) -> None:
        super().__init__(new, "xb")
        self._path = path

    def write(self, data: Any, /) -> int:
        with _reported(self._path):
            return super().write(data)


@contextlib.contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turn an OSError into a StorageError that names the file."""
    try:
        yield
    except OSError as error:
        hint = {
            errno.ENOSPC: " Free some space on the disk.",
            errno.EDQUOT: " Free some space: the quota is used up.",
            errno.EROFS: " The file system is read-only.",
            errno.EACCES: " Check the permissions of its folder.",
        }.get(error.errno or 0, "")
        reason = error.strerror or str(error)
        raise StorageError(
            f"{path} cannot be written ({type(error).__name__}: {reason}).{hint}"
        ) from error


def _unused_name(path: Path) -> Path:
    """Return the name of a new file beside `path`, which no other writer uses.

    Raises:
        StorageError: `path` is a folder, a pipe or a device.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise StorageError(f"{path} cannot be written: it is not a regular file. Choose another.")
    # At most 255 bytes; a character has up to four.
    return path.with_name(f"{path.name[:40]}.{os.getpid()}-{secrets.token_hex(4)}{_NEW}")


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk; without that, a power cut may undo a rename."""
    if os.name == "nt":  # has no descriptors of folders
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that may be written, but not listed
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
            raise
    finally:
        os.close(descriptor)


class _Expanded(io.RawIOBase):
    """The decompressed bytes of a file, which must not expand far beyond its size."""

    def __init__(self, path: Path, source: IO[bytes], most: int) -> None:
        self._path = path
        self._source = source
        self._most = most
        self._bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer)
        data = self._source.read(len(view))
        view[: len(data)] = data
        self._bytes += len(data)
        if self._bytes > self._most:
            raise InputError(
                f"{self._path} expands to more than {self._most:,} bytes, which no real data of "
                "its size does (Limits.archive_ratio). Decompress it yourself if you trust it."
            )
        return len(data)

    def close(self) -> None:
        self._source.close()
        super().close()


class _ZstdFrames:
    """The decompressed bytes of a `.zst` file.

    The library's own reader takes a file that was cut off for one that has ended.
    """

    def __init__(self, raw: IO[bytes], unpacker: Any) -> None:
        self._raw = raw
        self._unpacker = unpacker
        self._frame: Any = None
        self._packed = b""
        self._unpacked = memoryview(b"")

    def read(self, size: int) -> memoryview:
        while not self._unpacked:
            packed = self._packed or self._raw.read(_PACKED)
            if not packed:
                if self._frame is not None:
                    raise EOFError("the file ends within a compressed frame")
                break
            self._frame = self._frame or self._unpacker.decompressobj()
            self._unpacked = memoryview(self._frame.decompress(packed))
            self._packed = self._frame.unused_data
            if self._frame.eof:
                self._frame = None
        part, self._unpacked = self._unpacked[:size], self._unpacked[size:]
        return part

    def close(self) -> None:
        self._unpacked = memoryview(b"")


def _decompressed(path: Path, raw: IO[bytes], limits: Limits) -> IO[bytes]:
    most = max(_RATIO_FROM, limits.archive_ratio * os.fstat(raw.fileno()).st_size)
    if path.suffix == ".gz":
        return io.BufferedReader(_Expanded(path, cast(IO[bytes], gzip.open(raw)), most), 1 << 17)
    if path.suffix == ".zst":
        import zstandard

        source = _ZstdFrames(raw, zstandard.ZstdDecompressor(max_window_size=128 << 20))
        return io.BufferedReader(_Expanded(path, cast(IO[bytes], source), most), 1 << 17)
    return raw


def _compressed(path: Path, raw: IO[bytes]) -> contextlib.AbstractContextManager[IO[bytes]]:
    """Return a stream that compresses into `raw`, and leaves it open at its end."""
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(raw, "wb"))
    if path.suffix == ".zst":
        import zstandard

        return cast(IO[bytes], zstandard.ZstdCompressor().stream_writer(raw, closefd=False))
    return contextlib.nullcontext(raw)
