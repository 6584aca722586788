"""The seal of an index: which files the engine left at the last clean close.

The engine's files are a cache of the database. They are used only if they are exactly the files
that the engine had written and closed for the database's last change; otherwise they are made
again. So neither a killed process nor damage to a file can ever change a result.
"""

from __future__ import annotations

import json
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from m3rag.errors import StorageError
from m3rag.files import write_bytes

NAME = "seal.json"
PREFIX = "engine-"
"""The start of the names of the engine's folders."""

_ALWAYS_READ = 256 << 20  # bytes; larger files are read again only if their size or time changed
_BLOCK = 1 << 20

Facts = tuple[int, int, int]
"""The size of a file in bytes, the time of its last change in ns, and its CRC-32."""


@dataclass(frozen=True, slots=True)
class Seal:
    """The state of the engine's files.

    Attributes:
        change: The number of the database's last change that they contain.
        folder: The name of the engine's folder.
        files: The facts of each file in it, by path.
        database: The size of the database in bytes, and the time of its last change in ns.
        identity: The identity of the database.
    """

    change: int
    folder: str
    files: dict[str, Facts]
    database: tuple[int, int]
    identity: str

    @classmethod
    def of(
        cls,
        home: Path,
        folder: str,
        change: int,
        database: Path,
        last: Seal | None,
        *,
        identity: str,
    ) -> Seal:
        """Return the seal of an engine and a database that have closed their files.

        Args:
            home: The folder of the index.
            folder: The name of the engine's folder.
            change: The number of the database's last change.
            database: The path of the database.
            last: An earlier seal; files of the same size and time are not read again.
            identity: The identity of the database.

        Raises:
            OSError: A file cannot be read.
        """
        known = last.files if last is not None and last.folder == folder else {}
        files = {name: _facts(path, known.get(name)) for name, path in _files(home / folder)}
        status = database.stat()
        return cls(change, folder, files, (status.st_size, status.st_mtime_ns), identity)

    def write(self, home: Path) -> None:
        """Write the seal atomically.

        Raises:
            OSError: It cannot be written.
        """
        body = json.dumps(asdict(self))
        checked = {"checksum": zlib.crc32(body.encode()), "body": body}
        write_bytes(home / NAME, json.dumps(checked).encode())

    def after(self, change: int, database: Path) -> Seal:
        """Return the seal of the same files, whose engine was not opened, after later changes.

        Raises:
            OSError: The database cannot be read.
        """
        status = database.stat()
        return replace(self, change=change, database=(status.st_size, status.st_mtime_ns))

    def holds(self, home: Path) -> bool:
        """Return whether the files are those of the seal.

        All files are read if they are small together; else those whose size or time changed.
        """
        read_all = sum(size for size, _, _ in self.files.values()) <= _ALWAYS_READ
        try:
            found = dict(_files(home / self.folder))
            return found.keys() == self.files.keys() and all(
                _is_same(path, self.files[name], read=read_all) for name, path in found.items()
            )
        except OSError:
            return False

    def intact(self, home: Path) -> bool:
        """Return whether every byte of every file is as it was; reads all of them."""
        try:
            found = dict(_files(home / self.folder))
            return found.keys() == self.files.keys() and all(
                _is_same(path, self.files[name], read=True) for name, path in found.items()
            )
        except OSError:
            return False


def read_seal(home: Path) -> Seal | None:
    """Return the seal of an index; None if there is none, or it is damaged."""
    try:
        checked = json.loads((home / NAME).read_bytes())
        body = checked["body"]
        if zlib.crc32(body.encode()) != checked["checksum"]:
            return None
        values = json.loads(body)
        files = {name: tuple(facts) for name, facts in values.pop("files").items()}
        seal = Seal(**values | {"files": files, "database": tuple(values["database"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return seal if seal.folder == os.path.basename(seal.folder) else None


def remove_seal(home: Path) -> None:
    """Remove the seal before the first change, if there is one.

    Raises:
        StorageError: It cannot be removed, so that a change would be dangerous.
    """
    try:
        (home / NAME).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{home / NAME} cannot be removed: {error.strerror}.") from error


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of a folder by their path in it; a link or a device is no file of ours."""
    for parent, folders, names in os.walk(folder):
        for name in (*names, *folders):
            path = Path(parent, name)
            mode = path.lstat().st_mode
            if not stat.S_ISDIR(mode):
                if not stat.S_ISREG(mode):
                    raise OSError(f"{path} is not a regular file")
                yield path.relative_to(folder).as_posix(), path


def _is_same(path: Path, facts: Facts, *, read: bool) -> bool:
    status = path.stat()
    size, time, checksum = facts
    if status.st_size != size:
        return False
    return (not read and status.st_mtime_ns == time) or _checksum(path) == checksum


def _facts(path: Path, known: Facts | None) -> Facts:
    status = path.stat()
    if known is not None and known[:2] == (status.st_size, status.st_mtime_ns):
        return known
    return status.st_size, status.st_mtime_ns, _checksum(path)


def _checksum(path: Path) -> int:
    """Return the CRC-32 of a file."""
    checksum = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum
