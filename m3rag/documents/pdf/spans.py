"""The text that marked contents of a page spell out (`/ActualText`), and where it stands."""

from __future__ import annotations

import codecs
import ctypes
from typing import Any, NamedTuple

import pypdfium2.raw as pdfium

from m3rag.documents.pdf.frames import Frame, objects_of


class Span(NamedTuple):
    """A piece of text that the file spells out, and the baseline that it stands on.

    Attributes:
        text: The text.
        left: Its left edge.
        right: Its right edge.
        base: The y of its baseline.
        scale: The size on the page of what has the size 1 in the form that it is in.
    """

    text: str
    left: float
    right: float
    base: float
    scale: float = 1.0


class Spans:
    """The text that the marked contents of a page spell out, by the text objects in them.

    Args:
        page: A page of `pypdfium2`.
        frame: Its frame.
    """

    def __init__(self, page: Any, frame: Frame) -> None:
        self._marks: dict[int, int] = {}  # text object: marked content
        self._spans: dict[int, Span] = {}  # marked content: what it says
        self.inside_forms = False
        """Whether there are some in forms, where PDFium does not say where their letters are."""
        silent = set[int]()  # marked contents that say nothing, as most do
        edges = [ctypes.c_float() for _ in range(4)]
        matrix = pdfium.FS_MATRIX()
        for item, place in objects_of(page, frame):
            for k in range(pdfium.FPDFPageObj_CountMarks(item)):
                mark = pdfium.FPDFPageObj_GetMark(item, k)
                key = address(mark) or 0
                if key in silent:
                    continue
                known = self._spans.get(key)
                text = known.text if known else _spelled_out(mark)
                if text is None:
                    silent.add(key)
                if text is None or not pdfium.FPDFPageObj_GetBounds(item, *edges):
                    continue
                pdfium.FPDFPageObj_GetMatrix(item, matrix)
                left, _, right, _ = place.box(*(edge.value for edge in edges))
                start, base = place.point(matrix.e, matrix.f)
                left = min(left, start)
                if known:
                    left, right = min(left, known.left), max(right, known.right)
                self._spans[key] = Span(text, left, right, base, place.scale)
                self.inside_forms = self.inside_forms or place != frame
                self._marks[address(item) or 0] = key
                break

    def __bool__(self) -> bool:
        return len(self._spans) > 0

    def of(self, owner: int | None) -> tuple[int, Span] | None:
        """Return the marked content of a text object, with a number of its own."""
        key = self._marks.get(owner) if owner else None
        return (key, self._spans[key]) if key is not None else None

    def others(self, seen: set[int]) -> list[Span]:
        """Return what the marked contents without a number in `seen` say."""
        return [span for key, span in self._spans.items() if key not in seen]


def address(handle: Any) -> int | None:
    """Return the address of an object of PDFium, by which it is known again."""
    return ctypes.addressof(handle.contents) if handle else None


def _spelled_out(mark: Any) -> str | None:
    """Return the text that a mark gives for its content."""
    # Not the function for strings: it takes them for UTF-8, which text strings of a PDF rarely are.
    size = ctypes.c_ulong()
    bytes_of = pdfium.FPDFPageObjMark_GetParamBlobValue
    if not bytes_of(mark, b"ActualText", None, 0, size):
        return None
    buffer = (ctypes.c_ubyte * size.value)()
    bytes_of(mark, b"ActualText", buffer, size.value, size)
    data = bytes(buffer)
    if data.startswith(codecs.BOM_UTF16_BE):
        return data[2:].decode("utf-16-be", "replace")
    return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
