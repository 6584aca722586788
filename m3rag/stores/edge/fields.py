"""The table `field`, in which filters look values up; it is made from the passages."""

from __future__ import annotations

import sqlite3

from m3rag.stores.edge.conditions import field_rows
from m3rag.stores.edge.rows import passage_of

RECORD, VERSION = "fields", b"3"
"""The record with the version of the rows; databases of older formats have none."""


def is_current(reader: sqlite3.Connection) -> bool:
    """Return whether the table has the rows that this version makes."""
    found = reader.execute("SELECT content FROM record WHERE name = ?", [RECORD]).fetchall()
    return found == [(VERSION,)]


def insert(writer: sqlite3.Connection, key: int, content: str) -> None:
    """Insert the rows of a passage."""
    rows = [(name, value, key) for name, value in field_rows(passage_of(content))]
    writer.executemany("INSERT INTO field VALUES (?, ?, ?)", rows)


def remake(writer: sqlite3.Connection) -> None:
    """Replace all rows by those that this version makes.

    Raises:
        sqlite3.DatabaseError: A passage is damaged.
    """
    writer.execute("DELETE FROM field")
    for key, content in writer.execute("SELECT key, content FROM passage"):
        try:
            insert(writer, key, content)
        except (ValueError, TypeError, KeyError, AttributeError):
            error = sqlite3.DatabaseError(f"the passage with the key {key} cannot be read")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error from None
    writer.execute("INSERT OR REPLACE INTO record VALUES (?, ?)", [RECORD, VERSION])
