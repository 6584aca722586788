"""Spreadsheets: each sheet under its name, each row with the names of its header.

The parser uses python-calamine, because it reads .xlsx, .xlsm, .xlsb, .xls and .ods, is released
often, and is fast. openpyxl was last released in 2024 and reads only the first two.
"""

from __future__ import annotations

import datetime
import io
from collections.abc import Iterator
from contextlib import contextmanager

import python_calamine as calamine

from m3rag.documents.formats.archive import encrypted, xml_parts
from m3rag.documents.formats.content import UNLIMITED, Budget, Content, Fields, Writer
from m3rag.documents.formats.records import write_rows
from m3rag.documents.signatures import OLE

_MIDNIGHT = datetime.time()


def parse(data: bytes, budget: Budget = UNLIMITED) -> Content:
    """Return the values of all sheets, hidden ones included; formulas have their last result."""
    if not data.startswith(OLE):
        data = xml_parts(data, budget.limits, also=(".bin", "mimetype"))
    with _panics():
        return _content(data, budget)


@contextmanager
def _panics() -> Iterator[None]:
    """Turn a panic of the library, which is written in Rust, into an error as of any library."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(str(error)) from error


def _content(data: bytes, budget: Budget) -> Content:
    """Return the content of a file that is unpacked."""
    try:
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
    except calamine.PasswordError as error:
        raise encrypted() from error
    except calamine.CalamineError as error:
        if data.startswith(OLE) and b"E\0n\0c\0r\0y\0p\0t\0e\0d\0" in data:
            raise encrypted() from error
        raise
    writer, budget = Writer(), budget._replace(fields=Fields())
    sheets = [sheet for sheet in book.sheets_metadata if _has_cells(sheet)]
    for sheet in sheets:
        rows = book.get_sheet_by_name(sheet.name)
        if len(sheets) > 1 and rows.height:
            writer.heading(1, sheet.name)
        write_rows(_rows(rows), writer, budget)
    return writer.content()._replace(title=None)  # a sheet is no title


def _has_cells(sheet: calamine.SheetMetadata) -> bool:
    kinds = calamine.SheetTypeEnum
    return sheet.typ not in (kinds.ChartSheet, kinds.Vba)


def _rows(sheet: calamine.CalamineSheet) -> Iterator[list[str]]:
    for row in sheet.iter_rows():
        yield [_shown(cell) for cell in row]


def _shown(cell: object) -> str:
    """Return a cell as text: dates as ISO 8601, whole numbers without decimals."""
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else f"{cell:.15g}"
    if isinstance(cell, datetime.datetime):
        if cell.time() == _MIDNIGHT:
            return cell.date().isoformat()
        return cell.isoformat(" ", "seconds")
    if isinstance(cell, bool):
        return str(cell).lower()
    return str(cell)
