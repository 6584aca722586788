"""Read the files of a model folder: regular files only, bounded, and with the true cause of errors.

A model folder may come from anywhere. A FIFO would block, a device has no end, and a JSON file can
take twenty times its size in memory, so all of this is checked in front. A system error, such as
too many open files, says nothing about the file, so its message does not call the file damaged.
"""

from __future__ import annotations

import errno
import json
import os
import reprlib
import stat
import zlib
from pathlib import Path
from typing import Any

from m3rag.errors import CheckpointError

_QUOTE = 200  # characters of foreign data in a message
_ABSENT = (errno.ENOENT, errno.ENOTDIR)
_ADVICE = {
    errno.EMFILE: "This process has too many open files: close some, or raise its limit "
    "(ulimit -n).",
    errno.ENFILE: "The system has too many open files: close programs, or raise its limit.",
    errno.EACCES: "Give this user the right to read the file and to enter its folder.",
    errno.EPERM: "Give this user the right to read the file.",
    errno.ENOENT: "Another program removed it, or it is a link to a file that does not exist. "
    "Restore it.",
    errno.ELOOP: "It is a link to itself. Replace it by the file.",
    errno.EIO: "The disk or the network drive failed to return the data: check the drive.",
    errno.ENOMEM: "Free memory, or load the model on a machine with more of it.",
    errno.ENOSPC: "Free space on the disk.",
    errno.EDQUOT: "Free space, or raise the quota.",
    errno.EROFS: "Choose a folder on a disk that can be written to.",
}
SYSTEM_ERRNOS = frozenset(_ADVICE) - {errno.ENOENT}
"""The errno values that are no fault of a model's files, and not of the network either."""

_repr = reprlib.Repr()
_repr.maxlevel, _repr.maxstring, _repr.maxother = 3, _QUOTE, _QUOTE


def shortened(value: object) -> str:
    """Return the repr of foreign data for a message, at most about 200 characters long."""
    try:
        text = _repr.repr(value)
    except ValueError:  # an integer of more than 4,300 digits
        text = f"a very long {type(value).__name__}"
    return text if len(text) <= _QUOTE else f"{text[:_QUOTE]}…"


def counted(number: int) -> str:
    """Return an integer for a message."""
    return f"{number:,}" if abs(number) < 10**18 else "a number of more than 18 digits"


def clipped(error: object) -> str:
    """Return a message of another library in one short line, without its final full stop."""
    text = " ".join(str(error)[: 4 * _QUOTE].split()).rstrip(".")
    return text if len(text) <= 2 * _QUOTE else f"{text[: 2 * _QUOTE]}…"


def system_error(path: Path, error: BaseException, verb: str = "read") -> CheckpointError | None:
    """Return the error to raise if `error` comes from the system, not from a file's content."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError):
        number = errno.ENOMEM
    if number is None:  # libraries in Rust and C++ write it into their message
        message = str(error)
        number = next((known for known in _ADVICE if os.strerror(known) in message), None)
    if number is None:
        return None
    advice = _ADVICE.get(number, "This is an error of the system; the file may be intact.")
    return CheckpointError(f"{path} cannot be {verb}: {os.strerror(number)}. {advice}")


def exists(path: Path) -> bool:
    """Return whether there is an entry of this name.

    Raises:
        CheckpointError: The system cannot tell, or the entry is a link that leads nowhere.
    """
    try:
        path.lstat()
    except OSError as error:
        if error.errno in _ABSENT:
            return False
        raise system_error(path, error) or error from error
    return size_of(path) >= 0


def size_of(path: Path) -> int:
    """Return the size of a regular file in bytes.

    Raises:
        CheckpointError: It is not a regular file, or the system cannot tell.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise system_error(path, error) or error from error
    return _checked_size(path, found)


def opened(path: Path) -> int:
    """Return a descriptor of a regular file; opening never blocks.

    Raises:
        CheckpointError: It is not a regular file, or it cannot be opened.
    """
    size_of(path)  # opening a device can have effects
    try:
        # Without O_NONBLOCK, a FIFO that took the file's place would block.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
        try:
            _checked_size(path, os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        raise system_error(path, error) or error from error
    return descriptor


def read_bytes(path: Path, most: int) -> bytes:
    """Return the content of a regular file.

    Raises:
        CheckpointError: It is larger than `most` bytes, not a regular file, or unreadable.
    """
    with os.fdopen(opened(path), "rb") as file:
        try:
            data = file.read(most + 1)
        except OSError as error:
            raise system_error(path, error) or error from error
    if len(data) > most:
        size = max(size_of(path), len(data))
        raise CheckpointError(
            f"{path} has {size:,} bytes; m3rag reads at most {most:,} of such a file. It is not "
            "part of a BGE-M3 checkpoint; take the file from the original one."
        )
    return data


def read_gzip(path: Path, most: int) -> bytes:
    """Return the content of a regular file that gzip compressed.

    Raises:
        CheckpointError: It expands to more than `most` bytes, is not of gzip, or is unreadable.
    """
    expander = zlib.decompressobj(wbits=31)
    try:
        data = expander.decompress(read_bytes(path, most), most + 1)
    except zlib.error as error:
        raise CheckpointError(
            f"{path} is damaged: it is not compressed by gzip ({clipped(error)}). Download the "
            "file again."
        ) from error
    if len(data) > most:
        raise CheckpointError(
            f"{path} expands to more than {most:,} bytes, the most that m3rag reads of such a "
            "file. Take the file from the original checkpoint."
        )
    if not expander.eof or expander.unused_data:
        raise CheckpointError(
            f"{path} is damaged: its end is missing, or something follows. Download the file again."
        )
    return data


def read_json(path: Path, most: int, *, values: int = 100_000) -> Any:
    """Return the content of a JSON file.

    Args:
        path: The file.
        most: The most bytes of it.
        values: The most values in it. Each takes about 70 bytes of memory.

    Raises:
        CheckpointError: The file is not JSON, has more bytes or values, or cannot be read.
    """
    return parse_json(path, read_bytes(path, most), values=values)


def parse_json(path: Path, data: bytes, *, values: int) -> Any:
    """Return the value that is `data`, the content of the JSON file `path`; see `read_json`."""
    found = data.count(b",") + data.count(b"[") + data.count(b"{")
    if found > values:
        raise CheckpointError(
            f"{path} has about {found:,} values; m3rag reads at most {values:,}. It is not part of "
            "a BGE-M3 checkpoint; take the file from the original one."
        )
    try:
        return json.loads(data, object_pairs_hook=_object)
    except RecursionError:
        raise CheckpointError(
            f"{path} nests too deeply. It is not part of a BGE-M3 checkpoint; take the file from "
            "the original one."
        ) from None
    except ValueError as error:  # not JSON, not UTF-8, or a number of thousands of digits
        raise CheckpointError(
            f"{path} is damaged: it is not JSON ({clipped(error)}). Download the file again."
        ) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; of two values for a key, readers would disagree which one counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def shard(folder: Path, name: object, suffix: str, index: Path) -> Path:
    """Return the path of a shard that an index file names.

    Raises:
        CheckpointError: The name is not that of a file in the folder, or the file is a link that
            leads out of it. A link into the cache of huggingface_hub is allowed.
    """
    if not (isinstance(name, str) and name.isprintable() and name == Path(name).name):
        raise CheckpointError(
            f"{index} names the shard {shortened(name)}. A shard is a file in the same folder, "
            "named without a path. Download the file again."
        )
    if not name.endswith(suffix):
        raise CheckpointError(
            f"{index} names the shard {shortened(name)}; its name must end in {suffix}. Download "
            "the file again."
        )
    path = folder / name
    if not exists(path):
        raise CheckpointError(
            f"{index} names {name}, which is missing. Download the whole checkpoint."
        )
    home, target = folder.resolve(), path.resolve()
    if not (target.is_relative_to(home) or _in_hub_cache(home, target)):
        raise CheckpointError(
            f"{path} is a link that leads out of the model folder, to {target}. Put the file "
            "itself into the folder."
        )
    return path


def _in_hub_cache(home: Path, target: Path) -> bool:
    """Return whether `target` is a blob of the cache that has `home` as a snapshot.

    A snapshot, `models--a--b/snapshots/<commit>`, has links to `models--a--b/blobs`, which may have
    links to the `blobs` that all models of the cache share.
    """
    if home.parent.name != "snapshots":
        return False
    repository = home.parent.parent
    places = (repository / "blobs", repository.parent / "blobs")
    return any(target.is_relative_to(place) for place in places)


def _checked_size(path: Path, found: os.stat_result) -> int:
    if stat.S_ISREG(found.st_mode):
        return found.st_size
    kinds = {
        stat.S_IFDIR: "folder",
        stat.S_IFIFO: "named pipe",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "device",
        stat.S_IFBLK: "device",
    }
    kind = kinds.get(stat.S_IFMT(found.st_mode), "special file")
    raise CheckpointError(f"{path} is a {kind}; a model consists of regular files.")
