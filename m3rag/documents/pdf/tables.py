"""Tables that are ruled: the grids that the lines of a page form."""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import pypdfium2.raw as pdfium

from m3rag.documents.pdf.frames import Box, Frame, objects_of

_THIN = 2.5  # points; a shape that is thinner is a line
_APART = 4.0  # points; lines that are closer are one, such as the borders of two cells
_SHORTEST = 6.0  # points of a line
_MOST_SHAPES = 20_000  # on a page; one with more is a drawing
_MOST_LINES = 400  # of one direction


class _Line(NamedTuple):
    """A horizontal or vertical line: where it is, and from where to where it goes."""

    at: float
    start: float
    end: float


class Grid:
    """The cells of a table.

    Args:
        across: Its horizontal lines.
        down: Its vertical lines.
    """

    def __init__(self, across: list[_Line], down: list[_Line]) -> None:
        self._across, self._down = across, down
        self._x = sorted(line.at for line in down)
        self._y = sorted(line.at for line in across)
        self.columns, self.rows = len(self._x) - 1, len(self._y) - 1

    @classmethod
    def of(cls, x: list[float], y: list[float]) -> Grid:
        """Return a grid in which each line crosses all others."""
        across = [_Line(at, x[0], x[-1]) for at in y]
        return cls(across, [_Line(at, y[0], y[-1]) for at in x])

    def cell(self, x: float, y: float) -> tuple[int, int] | None:
        """Return the row, from the top, and the column of a place; None if it is outside.

        A cell that covers others is the first of them.
        """
        column, up = bisect_right(self._x, x) - 1, bisect_right(self._y, y) - 1
        if not (0 <= column < self.columns and 0 <= up < self.rows):
            return None
        while column > 0 and not _drawn(self._down, self._x[column], self._middle(self._y, up)):
            column -= 1
        while up + 1 < self.rows and not _drawn(
            self._across, self._y[up + 1], self._middle(self._x, column)
        ):
            up += 1
        return self.rows - 1 - up, column

    @staticmethod
    def _middle(places: list[float], i: int) -> float:
        return (places[i] + places[i + 1]) / 2


def _drawn(lines: list[_Line], at: float, through: float) -> bool:
    return any(line.at == at and line.start <= through <= line.end for line in lines)


def grids(page: Any, frame: Frame) -> list[Grid]:
    """Return the tables of a page in its frame that have at least two rows and two columns."""
    across: list[_Line] = []
    down: list[_Line] = []
    for left, bottom, right, top in _shapes(page, frame):
        if top - bottom > _THIN and right - left > _THIN:  # a box has four lines
            down += (_Line(left, bottom, top), _Line(right, bottom, top))
            across += (_Line(bottom, left, right), _Line(top, left, right))
        elif right - left >= _SHORTEST:
            across.append(_Line((bottom + top) / 2, left, right))
        elif top - bottom >= _SHORTEST:
            down.append(_Line((left + right) / 2, bottom, top))
    across, down = _merged(across), _merged(down)
    if max(len(across), len(down)) > _MOST_LINES:
        return []
    found = (Grid(*parts) for parts in _connected(across, down))
    return [grid for grid in found if grid.rows > 1 and grid.columns > 1]


def _shapes(page: Any, frame: Frame) -> Iterator[Box]:
    """Yield the edges of the simple shapes of a page."""
    if pdfium.FPDFPage_CountObjects(page.raw) > _MOST_SHAPES:
        return
    edges = [ctypes.c_float() for _ in range(4)]
    for item, place in islice(objects_of(page, frame), _MOST_SHAPES):
        if pdfium.FPDFPageObj_GetType(item) != pdfium.FPDF_PAGEOBJ_PATH:
            continue
        simple = pdfium.FPDFPath_CountSegments(item) <= 6
        if simple and pdfium.FPDFPageObj_GetBounds(item, *edges):
            yield place.box(*(edge.value for edge in edges))


def _merged(lines: list[_Line]) -> list[_Line]:
    """Return lines in which those that are close, or follow each other, are one."""
    found: list[_Line] = []
    group: list[_Line] = []
    for line in sorted(lines):
        if group and line.at - group[0].at > _APART:
            found += _joined(group)
            group = []
        group.append(line)
    return [*found, *_joined(group)]


def _joined(group: list[_Line]) -> Iterator[_Line]:
    """Yield the lines of one place, joined where they touch."""
    if not group:
        return
    at = group[0].at
    start, end = None, 0.0
    for line in sorted(group, key=lambda line: line.start):
        if start is not None and line.start - end <= _APART:
            end = max(end, line.end)
            continue
        if start is not None:
            yield _Line(at, start, end)
        start, end = line.start, line.end
    if start is not None:
        yield _Line(at, start, end)


def _connected(across: list[_Line], down: list[_Line]) -> Iterator[tuple[list[_Line], list[_Line]]]:
    """Yield the horizontal and vertical lines that cross each other, directly or by others."""
    left_across, left_down = list(across), list(down)
    while left_across:
        rows, columns = [left_across.pop()], list[_Line]()
        grown = True
        while grown:
            new = [x for x in left_down if any(_cross(y, x) for y in rows)]
            left_down = [x for x in left_down if x not in new]
            more = [y for y in left_across if any(_cross(y, x) for x in new)]
            left_across = [y for y in left_across if y not in more]
            columns += new
            rows += more
            grown = bool(new or more)
        yield rows, columns


def _cross(across: _Line, down: _Line) -> bool:
    return (
        across.start - _APART <= down.at <= across.end + _APART
        and down.start - _APART <= across.at <= down.end + _APART
    )
