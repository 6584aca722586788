"""Tables without rules: rows of a page whose cells stand in columns, with gaps between them.

Only text that the file stores row by row can be a table, so its order stays the same whatever is
found here: columns of prose and addresses side by side are stored one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import mean
from typing import NamedTuple

from m3rag.documents.pdf.characters import Characters
from m3rag.documents.pdf.tables import Grid

# The units are heights of a letter, of its font: about 1.2 times the size of the font.
_GAP = 0.5  # between two cells of a row
_STRIP = 0.2  # between two columns, in all rows
_SAME_LINE = 0.4  # of the distance of two baselines
_ABOVE, _BELOW = 0.7, 0.3  # the baselines of the first and the last row; other lines are further
_FAR = 3.0  # between two rows; what is further is no part of the table
_ALIGNED = 0.15  # by which the edges of the cells of a column may differ
_LEAST = 3  # rows
_MOST = 200  # rows of a page
_WIDEST = 50  # cells of a row
_OFTEN = 0.6  # the share of the rows that have several cells
_SINGLE = 0.8  # the share of cells of one word above which a gap may be a space
_SPACE = 0.6  # between two words, in a font of letters of one width
_WORDS, _FILLED = 5, 0.75  # of a cell, and the share of its column that it fills, in prose
_NUMBER = r"(?:\d{1,3}(?:\.\d{1,3})*|[^\W\d_]|[ivxIVX]{1,5})"
_MARKER = re.compile(rf"[^\w\s]|\(?{_NUMBER}[.)]|[.(]{_NUMBER}\)?")  # of a list
_WORD = re.compile("[^\\0- ]+")
# Marks, and scripts with which the first and the last letter need not be at the ends of a word.
_COMPLEX = re.compile("[\u0300-\u036f\u0590-\u1cff\ufb1d-\ufdff\ufe70-\ufeff]")
_LEADER = re.compile(r"(?:[.…·] ?){5}")  # of a table of contents


class _Cell(NamedTuple):
    """A piece of a line, without wide gaps.

    Attributes:
        left: Its left edge, in points like all others.
        right: Its right edge.
        base: The y of its baseline.
        height: The height of its font.
        text: Its text.
    """

    left: float
    right: float
    base: float
    height: float
    text: str


_Row = list[_Cell]
_Span = tuple[float, float]


def open_grids(characters: Characters, ruled: Sequence[Grid]) -> list[Grid]:
    """Return the tables without rules of a page, outside of those with rules."""
    rows = list(_rows(_cells(characters, ruled)))
    found: list[Grid] = []
    start = 0
    while len(rows) <= _MOST and start + _LEAST <= len(rows):
        block = _block(rows[start:])
        if _is_table(block):
            found.append(_grid(block))
            start += len(block)
        else:
            start += 1
    return found


def _cells(characters: Characters, ruled: Sequence[Grid]) -> Iterator[_Cell | None]:
    """Yield the pieces of the lines, in the order of the file; None stands for a ruled table."""
    cell: _Cell | None = None
    for word in _words(characters):
        if cell and abs(word.base - cell.base) <= _SAME_LINE * cell.height:
            gap = max(word.left - cell.right, cell.left - word.right)
            if gap <= _GAP * cell.height:
                cell = _united(cell, word)
                continue
        if cell:
            yield cell
        cell = word
        if any(grid.cell((word.left + word.right) / 2, word.base) for grid in ruled):
            yield None
            cell = None
    if cell:
        yield cell


def _words(characters: Characters) -> Iterator[_Cell]:
    """Yield the words of a page: PDFium puts a space or the end of a line into each wide gap."""
    text = "".join(map(chr, characters.codes))
    every = bool(_COMPLEX.search(text))
    for word in _WORD.finditer(text):
        first, last = word.start(), word.end() - 1
        ends = range(first, last + 1) if every else (first, last)
        boxes = [characters.box(i) for i in ends]
        left, right = min(box[0] for box in boxes), max(box[1] for box in boxes)
        yield _Cell(left, right, characters.origin(first)[1], boxes[0][2], word[0])


def _united(cell: _Cell, other: _Cell) -> _Cell:
    left, right = min(cell.left, other.left), max(cell.right, other.right)
    return cell._replace(left=left, right=right, text=f"{cell.text} {other.text}")


def _rows(cells: Iterator[_Cell | None]) -> Iterator[_Row]:
    """Yield the cells that follow each other on one baseline; [] stands for a ruled table."""
    row: _Row = []
    for cell in cells:
        if cell and row and abs(cell.base - row[0].base) <= _SAME_LINE * row[0].height:
            row.append(cell)
            continue
        if row:
            yield _joined(row)
        row = [cell] if cell else []
        if not cell:
            yield []
    if row:
        yield _joined(row)


def _joined(row: _Row) -> _Row:
    """Return the cells of a row from left to right; a number in right-to-left text joins them."""
    found: _Row = []
    for cell in sorted(row):
        if found and cell.left - found[-1].right <= _GAP * cell.height:
            found[-1] = _united(found[-1], cell)
        else:
            found.append(cell)
    return found


def _block(rows: list[_Row]) -> list[_Row]:
    """Return the rows from the first on that have common columns."""
    block: list[_Row] = []
    spans: list[_Span] = []
    for row in rows:
        if not row or len(row) > _WIDEST or (not block and len(row) < 2):
            break
        if block and not 0 < block[-1][0].base - row[0].base <= _FAR * row[0].height:
            break
        if (wider := _columns(spans, row)) is None:
            break
        spans = wider
        block.append(row)
    while block and len(block[-1]) < 2:
        block.pop()
    return block


def _columns(spans: list[_Span], row: _Row) -> list[_Span] | None:
    """Return columns with the cells of one more row in them; None if they do not fit."""
    strip = _STRIP * row[0].height
    edges = [(*span, "column") for span in spans]
    edges += [(cell.left, cell.right, "cell") for cell in row]
    found: list[_Span] = []
    inside: set[str] = set()
    for left, right, kind in sorted(edges):
        if found and left - found[-1][1] < strip:
            if kind in inside:
                return None
            found[-1] = (found[-1][0], max(found[-1][1], right))
            inside.add(kind)
        else:
            found.append((left, right))
            inside = {kind}
    return found


def _spans(block: list[_Row]) -> list[_Span]:
    """Return the columns of rows that have common ones."""
    spans: list[_Span] = []
    for row in block:
        spans = _columns(spans, row) or spans
    return spans


def _place(spans: list[_Span], cell: _Cell) -> int:
    return next(i for i, (_, right) in enumerate(spans) if cell.left <= right)


def _is_table(block: list[_Row]) -> bool:
    """Return whether rows with common columns are a table, and no prose or list."""
    full = [row for row in block if len(row) > 1]
    if len(full) < max(_LEAST, _OFTEN * len(block)):
        return False
    spans, height = _spans(block), block[0][0].height
    if _are_words(full) and (
        min(b[0] - a[1] for a, b in pairwise(spans)) < _SPACE * height or _is_justified(full)
    ):
        return False
    columns: list[list[_Cell]] = [[] for _ in spans]
    body: list[list[_Cell]] = [[] for _ in spans]  # without the header, which may be centred
    for number, row in enumerate(block):
        for cell in row:
            columns[_place(spans, cell)].append(cell)
            if number:
                body[_place(spans, cell)].append(cell)
    if any(_LEADER.search(cell.text) for row in block for cell in row):
        return False
    for cells in (columns[0], columns[-1]):  # right to left, the last is the first
        if all(_MARKER.fullmatch(cell.text.strip()) for cell in cells):
            return False
    aligned = [_aligned(cells, _ALIGNED * height) for cells in body]
    if sum(len(cells) > 1 for cells in body) < 2 or not all(aligned):
        return False
    return not any(_is_prose(cells, span) for cells, span in zip(columns, spans, strict=True))


def _are_words(rows: list[_Row]) -> bool:
    """Return whether most cells are one word, so that the gaps may be spaces."""
    words = [len(cell.text.split()) == 1 for row in rows for cell in row]
    return mean(words) >= _SINGLE


def _is_justified(rows: list[_Row]) -> bool:
    """Return whether rows start at one margin and end at another, not with numbers."""
    tolerance = _ALIGNED * rows[0][0].height
    edges = [row[0].left for row in rows], [row[-1].right for row in rows]
    numbers = all(any(map(str.isdigit, row[-1].text)) for row in rows)
    return not numbers and all(max(at) - min(at) <= tolerance for at in edges)


def _aligned(cells: list[_Cell], tolerance: float) -> set[str]:
    """Return how the cells of a column are aligned."""
    places = {
        "left": [cell.left for cell in cells],
        "right": [cell.right for cell in cells],
        "middle": [(cell.left + cell.right) / 2 for cell in cells],
    }
    return {how for how, at in places.items() if not at or max(at) - min(at) <= tolerance}


def _is_prose(cells: list[_Cell], span: _Span) -> bool:
    width = span[1] - span[0]
    words = mean(len(cell.text.split()) for cell in cells)
    return words >= _WORDS and mean(c.right - c.left for c in cells) >= _FILLED * width


def _grid(block: list[_Row]) -> Grid:
    """Return the grid of a table: lines between its columns and rows, and around it."""
    spans = _spans(block)
    bases = [row[0].base for row in block]
    x = [spans[0][0] - 1, *((a[1] + b[0]) / 2 for a, b in pairwise(spans))]
    y = [(a + b) / 2 for a, b in pairwise(bases)]
    y = [bases[0] + _ABOVE * block[0][0].height, *y, bases[-1] - _BELOW * block[-1][0].height]
    return Grid.of(sorted([*x, spans[-1][1] + 1]), sorted(y))
