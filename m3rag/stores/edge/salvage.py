"""Copy what is intact of a damaged database into a new one."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from m3rag.documents import Passage
from m3rag.errors import M3Error
from m3rag.files import flush_folder
from m3rag.stores.edge import schema
from m3rag.stores.edge.connection import PAGE
from m3rag.stores.edge.database import Database
from m3rag.stores.edge.rows import COLUMNS, Row
from m3rag.stores.edge.verification import intact_rows, verify
from m3rag.stores.health import Count, RepairReport
from m3rag.stores.records import RECORDS

_NEW = "passages.db.repaired"
_BATCH = 32  # rows of a transaction
_PAGE_COUNT = slice(28, 32)  # in the header of a SQLite file

Widths = tuple[int, int | None]


def salvage(folder: Path, widths: Widths, progress: Count) -> RepairReport:
    """Verify the database of a folder, and replace it by a copy of its intact rows if need be.

    Passages whose text is intact but whose ColBERT vectors are not are returned: they must be
    encoded again.

    Raises:
        FormatError: Nothing of it can be read.
        StorageError: The copy cannot be written.
    """
    with contextlib.closing(Database(folder, widths, quiet=True)) as old:
        result = verify(old, lambda n: progress(n, None))
        if not result.problems:
            return RepairReport(expected=result.expected, kept=result.found)
        schema.remove(folder / _NEW)
        schema.create(folder, widths, name=_NEW)
        with contextlib.closing(Database(folder, widths, name=_NEW)) as new:
            kept, again = _copy(old, new)
            for name in RECORDS:
                with contextlib.suppress(M3Error):
                    if (copy := old.recall(name)) is not None:
                        new.remember(name, copy)
            new.flush()
    damaged = f"{schema.NAME}.damaged"
    schema.remove(folder / damaged)
    os.replace(folder / schema.NAME, folder / damaged)
    schema.remove(folder / schema.NAME)
    os.replace(folder / _NEW, folder / schema.NAME)
    flush_folder(folder)
    lost = tuple(i for i in result.damaged if i not in {p.id for p in again})
    done = (f"{schema.NAME} was made again; the damaged file is {damaged}.",)
    return RepairReport(result.expected, kept, lost, tuple(again), done)


def restore_header(folder: Path, widths: Widths) -> str:
    """Give a database whose first page is damaged that of a new one, and say so.

    The first page only says where the tables start, which is the same in every database of ours.
    """
    path, damaged = folder / schema.NAME, folder / f"{schema.NAME}.damaged"
    schema.remove(damaged)
    shutil.copyfile(path, damaged)
    schema.create(folder, widths, name=_NEW)
    with (folder / _NEW).open("rb") as new:
        page = bytearray(new.read(PAGE))
    schema.remove(folder / _NEW)
    page[_PAGE_COUNT] = (path.stat().st_size // PAGE).to_bytes(4, "big")
    with path.open("r+b") as file:
        file.write(page)
    return f"The first page of {schema.NAME} was damaged and was made again."


def _copy(old: Database, new: Database) -> tuple[int, list[Passage]]:
    """Copy the intact rows; return their number, and the passages to encode again."""
    kept = 0
    again: list[Passage] = []
    batch: list[Row] = []
    for key, row in intact_rows(old):
        if row is None:
            with contextlib.suppress(M3Error, ValueError, TypeError, KeyError, AttributeError):
                again += _text_of(old, key)
            continue
        batch.append(row)
        kept += 1
        if len(batch) == _BATCH:
            new.insert(batch)
            batch = []
    new.insert(batch)
    return kept, again


def _text_of(old: Database, key: int) -> list[Passage]:
    """Return the passage of a row whose own checksum is right, although its ColBERT's is not."""
    found = old.query(f"SELECT {COLUMNS}, NULL, checksum FROM passage WHERE key = ?", [key])
    rows = [(Row(*columns), checksum) for *columns, checksum in found]
    return [row.passage for row, checksum in rows if row.checksum == checksum]
