"""The tables of the database file, and how it is created and removed."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path

from m3rag.files import flush_folder
from m3rag.stores.edge import connection, fields
from m3rag.stores.edge.counters import IDENTITY

NAME = "passages.db"

_SCHEMA = """
CREATE TABLE state (
  change INTEGER, passages INTEGER, digest INTEGER, next_key INTEGER, widths TEXT
);
CREATE TABLE record (name TEXT PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE passage (
  key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, document_id TEXT, content TEXT NOT NULL,
  dense BLOB NOT NULL, sparse BLOB NOT NULL, bm25 BLOB NOT NULL, checksum INTEGER NOT NULL
);
CREATE INDEX passage_document ON passage (document_id);
CREATE TABLE colbert (key INTEGER PRIMARY KEY, vectors BLOB NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE field (
  name TEXT NOT NULL, value NOT NULL, key INTEGER NOT NULL, PRIMARY KEY (name, value, key)
) WITHOUT ROWID;
CREATE INDEX field_key ON field (key);
"""


def create(folder: Path, widths: tuple[int, int | None], *, name: str = NAME) -> None:
    """Create an empty database; an interrupted creation leaves none.

    Raises:
        StorageError: It cannot be written.
    """
    new, path = folder / f"{name}.creating", folder / name
    with connection.errors(path, "create the index"):
        remove(new)
        with contextlib.closing(connection.create(new)) as made:
            made.execute("BEGIN")
            for statement in _SCHEMA.strip().split(";"):
                made.execute(statement)
            made.execute("INSERT INTO state VALUES (0, 0, 0, 1, ?)", [json.dumps(widths)])
            identity = secrets.token_hex(8).encode()
            made.execute("INSERT INTO record VALUES (?, ?)", [IDENTITY, identity])
            made.execute("INSERT INTO record VALUES (?, ?)", [fields.RECORD, fields.VERSION])
            made.execute("COMMIT")
            connection.write_log(made)
        os.replace(new, path)
        flush_folder(folder)


def remove(path: Path) -> None:
    """Remove a database file with its log; there may be none."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
