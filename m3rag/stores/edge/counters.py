"""The counters of a database: what it must contain."""

from __future__ import annotations

import json
import sqlite3
from typing import NamedTuple

IDENTITY = "identity"
"""The name of the record that tells a database from those of other indexes."""
DIGEST = (1 << 62) - 1
"""The modulus of the digest."""


class State(NamedTuple):
    """The counters of a database, changed with every transaction.

    Attributes:
        change: The number of the last change.
        passages: The number of passages.
        digest: The sum of all checksums, modulo 2^62 - 1.
        next_key: The key of the next passage.
        widths: The widths of the dense and the ColBERT vectors, as JSON.
    """

    change: int
    passages: int
    digest: int
    next_key: int
    widths: str

    @property
    def parsed_widths(self) -> tuple[int, int | None]:
        """The widths of the dense and the ColBERT vectors; None without ColBERT vectors."""
        dense, colbert = json.loads(self.widths)
        return int(dense), None if colbert is None else int(colbert)


def read_state(reader: sqlite3.Connection) -> State:
    """Return the counters.

    Raises:
        sqlite3.DatabaseError: They are missing, so the file is damaged.
    """
    found = reader.execute(f"SELECT {', '.join(State._fields)} FROM state").fetchall()
    if len(found) != 1 or not all(isinstance(n, int) for n in found[0][:-1]):
        error = sqlite3.DatabaseError("the counters are missing")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error
    return State(*found[0])


def read_identity(reader: sqlite3.Connection) -> str:
    """Return what tells a database from those of other indexes."""
    found = reader.execute("SELECT content FROM record WHERE name = ?", [IDENTITY]).fetchall()
    return bytes(found[0][0]).decode() if found else ""


def count(writer: sqlite3.Connection, passages: int, checksums: int) -> None:
    """Add to the number of passages and to the sum of their checksums."""
    found = read_state(writer)
    values = [found.passages + passages, (found.digest + checksums) % DIGEST]
    writer.execute("UPDATE state SET passages = ?, digest = ?", values)
