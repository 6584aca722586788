"""The changes of a transaction: rows inserted into and removed from the tables of a database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from m3rag.stores.edge import fields
from m3rag.stores.edge.counters import count
from m3rag.stores.edge.rows import COLUMNS, Row


def insert(writer: sqlite3.Connection, row: Row) -> int:
    """Insert a passage with its vectors and its fields; return about how many bytes it takes."""
    *columns, vectors = row
    writer.execute("INSERT INTO passage VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [*columns, row.checksum])
    if vectors is not None:
        checksum = row.colbert_checksum
        writer.execute("INSERT INTO colbert VALUES (?, ?, ?)", [row.key, vectors, checksum])
    fields.insert(writer, row.key, row.content)
    count(writer, 1, row.checksum + row.colbert_checksum)
    return len(row.content) + len(row.dense) + len(vectors or b"")


def read(writer: sqlite3.Connection, test: str, parameters: Sequence[Any]) -> list[Row]:
    """Return the passages that meet a condition, with all their vectors."""
    sql = f"SELECT {COLUMNS}, vectors FROM passage LEFT JOIN colbert USING (key) WHERE {test}"
    return [Row(*row) for row in writer.execute(sql, parameters)]


def remove(writer: sqlite3.Connection, test: str, parameters: Sequence[Any]) -> list[int]:
    """Delete the passages that meet a condition, and return their keys."""
    found = writer.execute(
        "SELECT key, passage.checksum + coalesce(colbert.checksum, 0) "
        f"FROM passage LEFT JOIN colbert USING (key) WHERE {test}",
        parameters,
    ).fetchall()
    keys = [key for key, _ in found]
    for table in ("field", "colbert", "passage") if keys else ():
        writer.execute(
            f"DELETE FROM {table} WHERE key IN (SELECT value FROM json_each(?))",
            [json.dumps(keys)],
        )
    count(writer, -len(keys), -sum(checksum for _, checksum in found))
    return keys
