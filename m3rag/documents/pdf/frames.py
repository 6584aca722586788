"""Where things on a PDF page are for a reader: the page may be turned, and have pages within it.

A page that was laid out sideways stores its letters from bottom to top. A page that a program put
into another one, as for two on a sheet, is a form with coordinates of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import pypdfium2.raw as pdfium

_DEEPEST = 8  # forms in forms
_SAMPLE = 40  # letters that show how a page is turned
_MOST = 0.6  # the share of them that must be turned in the same way

Box = tuple[float, float, float, float]
"""The left, bottom, right and top edge of something."""


class Frame(NamedTuple):
    """A change of coordinates: x becomes a·x + c·y + e, and y becomes b·x + d·y + f."""

    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 1.0
    e: float = 0.0
    f: float = 0.0

    @property
    def scale(self) -> float:
        """The length of what has the length 1."""
        return math.sqrt(abs(self.a * self.d - self.b * self.c))

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point is."""
        return self.a * x + self.c * y + self.e, self.b * x + self.d * y + self.f

    def box(self, left: float, bottom: float, right: float, top: float) -> Box:
        """Return where a box is; if it is turned by a part of a quarter, the box around it."""
        corners = [self.point(x, y) for x in (left, right) for y in (bottom, top)]
        across, up = [x for x, _ in corners], [y for _, y in corners]
        return min(across), min(up), max(across), max(up)

    def around(self, inner: Frame) -> Frame:
        """Return the frame of what is in a frame in this one."""
        a, b = self.a * inner.a + self.c * inner.b, self.b * inner.a + self.d * inner.b
        c, d = self.a * inner.c + self.c * inner.d, self.b * inner.c + self.d * inner.d
        return Frame(a, b, c, d, *self.point(inner.e, inner.f))


UPRIGHT = Frame()
"""The frame of a page whose letters stand upright."""
_TURNS = (UPRIGHT, Frame(0, 1, -1, 0), Frame(-1, 0, 0, -1), Frame(0, -1, 1, 0))


def frame_of(textpage: Any, codes: list[int]) -> Frame:
    """Return the frame in which most letters of a page stand upright.

    Args:
        textpage: The text of a page of `pypdfium2`.
        codes: Its characters.
    """
    letters = [i for i, code in enumerate(codes) if code > 32]
    sample = letters[:: max(len(letters) // _SAMPLE, 1)]
    turns = [_quarters(pdfium.FPDFText_GetCharAngle(textpage.raw, i)) for i in sample]
    for quarters in (1, 2, 3):
        if turns.count(quarters) > _MOST * len(turns):
            return _TURNS[quarters]
    return UPRIGHT


def _quarters(angle: float) -> int | None:
    """Return by how many quarters a letter is turned to the right; None if by a part of one."""
    turn = angle / (math.pi / 2)
    return round(turn) % 4 if abs(turn - round(turn)) < 0.02 else None


def objects_of(page: Any, frame: Frame) -> Iterator[tuple[Any, Frame]]:
    """Yield the objects of a page and of the forms in it, each with its frame."""
    count, get = pdfium.FPDFPage_CountObjects(page.raw), pdfium.FPDFPage_GetObject
    yield from _unfolded((get(page.raw, i) for i in range(count)), frame, 0)


def _unfolded(items: Iterator[Any], frame: Frame, depth: int) -> Iterator[tuple[Any, Frame]]:
    for item in items:
        if pdfium.FPDFPageObj_GetType(item) != pdfium.FPDF_PAGEOBJ_FORM:
            yield item, frame
        elif depth < _DEEPEST:
            matrix = pdfium.FS_MATRIX()
            pdfium.FPDFPageObj_GetMatrix(item, matrix)
            within = frame.around(Frame(*(getattr(matrix, name) for name in Frame._fields)))
            count, get = pdfium.FPDFFormObj_CountObjects(item), pdfium.FPDFFormObj_GetObject
            yield from _unfolded((get(item, i) for i in range(count)), within, depth + 1)
