"""A model of a disk: what a folder may look like after a power cut, from a log of `faults.c`.

What was synced is there. Of what was written since, the disk may have any sectors; of the changed
names, any that came first. Only `fsync` of a file makes its content durable, and only `fsync` of a
folder its names, as POSIX says; real file systems do a little more.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_HEADER = struct.Struct("=6I4Q")
_KINDS = (
    "",
    "write",
    "truncate",
    "create",
    "rename",
    "unlink",
    "mkdir",
    "rmdir",
    "link",
    "sync begin",
    "sync end",
    "mark",
)
_EXCHANGE = 2  # RENAME_EXCHANGE
ENGINE = ("engine-", "edge")
"""The beginnings of the names of the engine's folders, which are written through mapped memory."""


@dataclass(frozen=True, slots=True)
class Record:
    """One call in the log.

    Attributes:
        kind: What was done.
        process: The process id.
        path: The file or folder.
        other: The new name of a rename or a link.
        inode: The inode number of the file.
        offset: The offset of a write, the new size of a truncation, or flags.
        data: What was written, or the text of a mark.
    """

    kind: str
    process: int
    path: str
    other: str
    inode: int
    offset: int
    data: bytes


def read_log(path: Path) -> list[Record]:
    """Return the records of a log, in the order of the calls."""
    content, found, at = path.read_bytes(), [], 0
    while at < len(content):
        kind, _, process, n, m, _, sequence, inode, offset, size = _HEADER.unpack_from(content, at)
        at += _HEADER.size
        name, other = content[at : at + n], content[at + n : at + n + m]
        at += n + m
        data = content[at : at + size] if _KINDS[kind] in ("write", "mark") else b""
        at += len(data)
        record = Record(
            _KINDS[kind], process, os.fsdecode(name), os.fsdecode(other), inode, offset, data
        )
        found.append((sequence, record))
    return [record for _, record in sorted(found, key=lambda pair: pair[0])]


@dataclass(slots=True, eq=False)
class _File:
    """A file: what is on the disk, and the writes (offset, data) and sizes (size, None) since."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self, n: int) -> None:
        for change in self.pending[:n]:
            _change(self.durable, *change)
        del self.pending[:n]


_Name = tuple[str, str, str, _File | None]
"""A change of names: its kind, the path, the other path, and the file; None for a folder."""


class Disk:
    """A folder on a disk with a volatile cache.

    Args:
        folder: The folder as it was when the log began; everything in it is durable.
        ignored: The beginning of the names in it that the model leaves out.
    """

    def __init__(self, folder: Path, ignored: tuple[str, ...] = ENGINE) -> None:
        self._root = str(folder.resolve())
        self._ignored = ignored
        self._files: dict[int, _File] = {}
        self._syncing: dict[tuple[int, int], tuple[int, int]] = {}
        self._names: dict[str, _File | None] = {}  # as programs see them
        self._durable: dict[str, _File | None] = {}
        self._changes: list[_Name] = []
        for path in folder.rglob("*"):
            name = str(path.relative_to(folder))
            if not name.startswith(ignored):
                file = None if path.is_dir() else _File(bytearray(path.read_bytes()))
                self._names[name] = self._durable[name] = file

    def replay(self, records: Sequence[Record]) -> Iterator[Record]:
        """Take in the records and yield each of them afterwards."""
        for record in records:
            if record.kind != "mark":
                self._take(record)
            yield record

    def _take(self, record: Record) -> None:
        path, other = self._relative(record.path), self._relative(record.other)
        if path.startswith(self._ignored) or other.startswith(self._ignored):
            return
        if record.kind in ("sync begin", "sync end"):
            self._sync(record, path)
        elif record.kind in ("write", "truncate"):
            data = record.data if record.kind == "write" else None
            self._file(record, path).pending.append((record.offset, data))
        else:
            file = None
            if record.kind == "create":
                file = self._files[record.inode] = _File()
            elif record.kind in ("rename", "link"):
                file = self._names.get(path)
            change = (record.kind, path, other, file)
            if record.kind == "rename" and record.offset & _EXCHANGE:
                raise NotImplementedError("an exchange of names")
            self._changes.append(change)
            _rename(self._names, change)

    def _relative(self, path: str) -> str:
        if path == self._root:
            return "."
        return path.removeprefix(self._root + "/").removesuffix(" (deleted)") if path else ""

    def _file(self, record: Record, path: str) -> _File:
        """Return the file of a record; files of before the log are found by their name."""
        if record.inode not in self._files:
            self._files[record.inode] = self._names.get(path) or _File()
        return self._files[record.inode]

    def _sync(self, record: Record, path: str) -> None:
        key = (record.process, record.inode)
        is_folder = path == "." or (path in self._names and self._names[path] is None)
        if record.kind == "sync begin":
            n = 0 if is_folder else len(self._file(record, path).pending)
            self._syncing[key] = (n, len(self._changes))
            return
        pending, changes = self._syncing.pop(key)
        if not is_folder:
            self._file(record, path).sync(pending)
            return
        first, rest = self._changes[:changes], self._changes[changes:]
        for change in first:
            if path in (os.path.dirname(change[1]) or ".", os.path.dirname(change[2]) or "."):
                _rename(self._durable, change)
        self._changes = [
            c
            for c in first
            if path not in (os.path.dirname(c[1]) or ".", os.path.dirname(c[2]) or ".")
        ] + rest

    def after_cut(self, how: str, rng: random.Random) -> dict[str, bytes | None]:
        """Return a state that the disk may have after a cut now: `{path: content}`.

        Args:
            how: "drop" loses everything that was not synced, "keep" nothing; "names" keeps the
                names and loses the content; "torn" keeps random sectors and the first changes of
                names; "first" keeps the first changes of each.
            rng: The source of chance.
        """
        kept = {"drop": 0, "keep": len(self._changes), "names": len(self._changes)}
        names = dict(self._durable)
        for change in self._changes[: kept.get(how, rng.randint(0, len(self._changes)))]:
            _rename(names, change)
        sector, share = rng.choice([512, 4096]), rng.choice([0.1, 0.5, 0.9])
        found: dict[str, bytes | None] = {}
        for name, file in names.items():
            if file is None:
                found[name] = None
                continue
            content = bytearray(file.durable)
            pending = {"drop": [], "names": [], "keep": file.pending}.get(how)
            if how == "torn":
                pending = list(_torn(file.pending, sector, share, rng))
            elif pending is None:
                pending = file.pending[: rng.randint(0, len(file.pending))]
            for written in pending:
                _change(content, *written)
            found[name] = bytes(content)
        return found


HOW = ("drop", "keep", "names", "torn", "first")


def _change(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
        return
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


def _torn(
    pending: Sequence[tuple[int, bytes | None]], sector: int, share: float, rng: random.Random
) -> Iterator[tuple[int, bytes | None]]:
    for offset, data in pending:
        if data is None:
            if rng.random() < share:
                yield offset, None
            continue
        at = 0
        while at < len(data):
            end = min(len(data), (offset + at) // sector * sector + sector - offset)
            if rng.random() < share:
                yield offset + at, data[at:end]
            at = end


def _rename(names: dict[str, _File | None], change: _Name) -> None:
    kind, path, other, file = change
    if kind in ("create", "mkdir"):
        names[path] = file
    elif kind == "link":
        names[other] = file
    elif kind in ("unlink", "rmdir"):
        names.pop(path, None)
    elif kind == "rename":
        moved = {n: f for n, f in names.items() if n == path or n.startswith(f"{path}/")}
        for name in moved:
            del names[name]
        moved = moved or {path: file}
        names.update({other + name[len(path) :]: f for name, f in moved.items()})
