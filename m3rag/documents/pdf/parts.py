"""The parts of a PDF page: the text around its tables, and their cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from m3rag.documents.pdf.characters import Characters
from m3rag.documents.pdf.hyphens import HYPHEN
from m3rag.documents.pdf.tables import Grid

_FULL = 0.2  # the share of the cells of a table that have text
_HYPHEN = ord(HYPHEN)


def parts_of(
    characters: Characters, tables: list[Grid]
) -> Iterator[Characters | list[list[Characters]]]:
    """Yield the text around the tables of a page, and the cells of each table by row, in order."""
    if not tables:
        yield characters
        return
    homes = _homes(characters, tables)
    cells: dict[tuple[int, int, int], list[int]] = {}
    around: list[int] = []
    order: list[list[int] | int] = [around]
    for i, home in enumerate(homes):
        if home is None:
            around.append(i)
            continue
        if home[0] not in order:
            around = []
            order += (home[0], around)
        cell = cells.setdefault(home, [])
        if cell and cell[-1] < i - 1 and characters.codes[i - 1] in (10, 32):
            cell.append(i - 1)  # its next line, after the first lines of other cells
        cell.append(i)
    for entry in order:
        if isinstance(entry, list):
            yield characters.part(entry)
        else:
            rows, columns = range(tables[entry].rows), range(tables[entry].columns)
            yield [
                [characters.part(cells.get((entry, row, column), [])) for column in columns]
                for row in rows
            ]


def _homes(characters: Characters, tables: list[Grid]) -> list[tuple[int, int, int] | None]:
    """Return for each character its table, row and column; None if it is in no table.

    White space belongs to a cell if the letters before and after it do. A grid with few letters is
    a chart.
    """
    homes: list[tuple[int, int, int] | None] = []
    for i, code in enumerate(characters.codes):
        home = None
        if code > 32:
            x, y = characters.origin(i)
            left, right, _ = characters.box(i)
            for number, grid in enumerate(tables):
                if place := grid.cell((left + right) / 2 if right > left else x, y):
                    home = (number, *place)
                    break
        homes.append(home)
    full = Counter(number for number, _, _ in {home for home in homes if home})
    charts = {n for n, grid in enumerate(tables) if full[n] < _FULL * grid.rows * grid.columns}
    last: tuple[int, int, int] | None = None
    waiting: list[int] = []
    for i, code in enumerate(characters.codes):
        home = homes[i]
        if home and home[0] in charts:
            home = homes[i] = None
        if code <= 32 and code != _HYPHEN:
            waiting.append(i)
            continue
        for space in waiting:
            homes[space] = home if home == last else None
        last, waiting = home, []
    return homes
