"""Small programs without m3rag that show what the shim and the model of a disk do.

python -m tests.trials.victims NAME FOLDER
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from pathlib import Path

from tests.trials.faults import Faults, mark


def database(folder: Path, synchronous: str) -> None:
    """Insert rows into a SQLite database in WAL mode, and mark each commit."""
    connection = sqlite3.connect(folder / "rows.db", isolation_level=None)
    with contextlib.closing(connection):
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute(f"PRAGMA synchronous = {synchronous}").fetchall()
        connection.execute("CREATE TABLE row (n INTEGER PRIMARY KEY, content BLOB)")
        mark("ack 0")
        for n in range(1, 25):
            connection.execute("INSERT INTO row VALUES (?, ?)", [n, bytes([n]) * 700])
            mark(f"ack {n}")
            if n == 15:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def rows(folder: Path) -> int:
    """Return how many rows are there, without a gap or a mixture; -1 without their table."""
    with contextlib.closing(sqlite3.connect(folder / "rows.db")) as connection:
        connection.execute("PRAGMA synchronous = OFF").fetchall()
        if not connection.execute("SELECT 1 FROM sqlite_schema").fetchall():
            return -1
        found = connection.execute("SELECT n, content FROM row ORDER BY n").fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert found == [(n, bytes([n]) * 700) for n in range(1, len(found) + 1)]
    return len(found)


def replaced(folder: Path, *, sync: bool) -> None:
    """Replace a file by a new one, five times, with or without what makes this safe."""
    for n in range(1, 6):
        with (folder / "new").open("wb") as file:
            file.write(bytes([n]) * 10_000)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(folder / "new", folder / "file")
        if sync:
            handle = os.open(folder, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
        mark(f"ack {n}")


def calls(folder: Path) -> None:
    """Try one call of each kind, and print its errno; 0 for success."""

    def tried(name, function):
        try:
            result = function()
        except OSError as error:
            print(name, error.errno)  # noqa: T201  # the test reads it
        else:
            print(name, 0, "" if result is None else result)  # noqa: T201

    file = os.open(folder / "a", os.O_RDWR | os.O_CREAT)
    tried("open", lambda: os.close(os.open(folder / "b", os.O_RDWR | os.O_CREAT)))
    tried("write", lambda: os.write(file, b"12345678"))
    tried("write", lambda: os.pwrite(file, b"12345678", 0))
    tried("write", lambda: os.writev(file, [b"1234", b"5678"]))
    tried("read", lambda: len(os.pread(file, 8, 0)))
    tried("truncate", lambda: os.ftruncate(file, 20))
    tried("allocate", lambda: os.posix_fallocate(file, 0, 30))
    tried("sync", lambda: os.fsync(file))
    tried("sync", lambda: os.fdatasync(file))
    tried("rename", lambda: os.replace(folder / "a", folder / "c"))
    tried("link", lambda: os.link(folder / "c", folder / "d"))
    tried("mkdir", lambda: os.mkdir(folder / "sub"))
    tried("unlink", lambda: os.unlink(folder / "c"))
    tried("unlink", lambda: os.rmdir(folder / "sub"))
    print("names", *sorted(os.listdir(folder)))  # noqa: T201


def main() -> None:
    """Run the program that the arguments name."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    if (faults := Faults.here()) is not None:
        faults.claim()
    if name == "calls":
        calls(folder)
    elif name in ("replaced", "replaced carelessly"):
        replaced(folder, sync=name == "replaced")
    else:
        database(folder, name)


if __name__ == "__main__":
    main()
