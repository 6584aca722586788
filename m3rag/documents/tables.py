"""The tables of a text that are written as rows between bars, and the header of each."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from m3rag.documents.lines import Kind, Line, lines

# A lookahead and a possessive quantifier (`++`) take linear time, unlike "x*-x*".
_RULE = re.compile(r"(?=[^=-]*+[=-])[|+][|:+=\s-]++")  # "|---|---|" below a header
_BAR = re.compile(r"(?<!\\)\|")
_NUMBER = re.compile(r"(?=\D*+\d)[\d\s.,:;%€$£¥+\-−/()]++")
_PERIOD = re.compile(r"(?:19|20)\d\d(?:-\d\d-\d\d)?")  # a year or a day, as a header may have
_MOST_ROWS = 3  # of a header; or with it, if titles of the table stand above it


class Table(NamedTuple):
    """The rows of a table below its header.

    Attributes:
        start: The first character of the first of these rows.
        end: One past the last character of the last of them.
        header: The row, or rows, with the names of the columns.
    """

    start: int
    end: int
    header: str


class Tables:
    """Tables, to find the one that a place is in.

    Args:
        found: The tables, in the order of their text.
    """

    def __init__(self, found: Iterable[Table]) -> None:
        self._found = list(found)
        self._starts = [table.start for table in self._found]

    def header(self, place: int) -> str:
        """Return the header that a text from this character on lacks; "" if it lacks none."""
        at = bisect_right(self._starts, place)
        return self._found[at - 1].header if at and place < self._found[at - 1].end else ""


def tables(text: str, header: str = "") -> list[Table]:
    """Return the tables of a text that have a header.

    Args:
        text: The text.
        header: The header of the table in whose middle the text starts; "" if it does not.
    """
    return list(_tables(text, header)) if "|" in text else []


def is_header(cells: Iterable[str]) -> bool:
    """Return whether the cells of a row can be the names of columns.

    No name is there twice, and none is a number, but several may be years or days.
    """
    names = [cell for cell in map(str.strip, cells) if cell]
    numbers = [name for name in names if _NUMBER.fullmatch(name)]
    periods = [name for name in numbers if _PERIOD.fullmatch(name)]
    return len(set(names)) == len(names) and len(periods) == len(numbers) != 1


def _tables(text: str, header: str) -> Iterator[Table]:
    for rows in _blocks(text):
        if header and rows[0].start == len(text) - len(text.lstrip()):
            yield Table(rows[0].start, rows[-1].end, header)
        elif (found := _header(text, rows)) is not None:
            first, names = found
            yield Table(rows[first].start, rows[-1].end, names)


def _blocks(text: str) -> Iterator[list[Line]]:
    """Yield the lines of each table."""
    rows: list[Line] = []
    for line in lines(text):
        if line.kind is Kind.TABLE:
            rows.append(line)
        elif rows:
            yield rows
            rows = []
    if rows:
        yield rows


def _header(text: str, rows: Sequence[Line]) -> tuple[int, str] | None:
    """Return the number of the first row below the header, and the header; None without one.

    The header is what a rule separates from the other rows, or else the first row with several
    cells, if they can be the names of columns.
    """
    lined = [bool(_RULE.fullmatch(text, row.start, row.end)) for row in rows]
    top = lined.index(False) if False in lined else len(rows)
    rule = lined.index(True, top) if True in lined[top:] else len(rows)
    if rule + 1 < len(rows) and rule - top <= _MOST_ROWS:
        names = [text[row.start : row.end] for row in rows[top:rule]]
        return (rule + 1, "\n".join(names)) if any(map(_cells, names)) else None
    for number, row in enumerate(rows[: min(_MOST_ROWS, len(rows) - 1)]):
        names = _cells(line := text[row.start : row.end])
        if len(names) > 1:
            return (number + 1, line) if is_header(names) else None
    return None


def _cells(row: str) -> list[str]:
    """Return the cells of a row that are not empty."""
    return [cell.strip() for cell in _BAR.split(row) if cell.strip()]
