"""The characters of a PDF page as PDFium orders them, and where they stand."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from copy import copy
from typing import Any

import pypdfium2.raw as pdfium

from m3rag.documents.pdf.frames import UPRIGHT, frame_of
from m3rag.documents.pdf.spans import Spans, address
from m3rag.documents.plain_text import SYMBOL_BULLETS

_UNUSABLE = 0.3  # the share of letters without a meaning that makes a page garbage
_NO_MEANING = re.compile("[\0\ufffd\ufffe\uffff\ue000-\uf8ff\U000f0000-\U0010fffd]")
BULLETS = str.maketrans(dict.fromkeys(SYMBOL_BULLETS, "•"))
"""The bullets of symbol fonts, as bullets."""


class Characters:
    """The characters of a page as PDFium orders them, in a frame in which most stand upright."""

    def __init__(self, textpage: Any) -> None:
        self._page = textpage.raw
        count = max(pdfium.FPDFText_CountChars(self._page), 0)
        self._places: Sequence[int] = range(count)
        self.codes = [pdfium.FPDFText_GetUnicode(self._page, i) for i in self._places]
        self._x, self._y = ctypes.c_double(), ctypes.c_double()
        self._box = pdfium.FS_RECTF()
        self.frame = frame_of(textpage, self.codes)
        self._spans: Spans | None = None

    def place_in_forms(self, spans: Spans) -> None:
        """Let the letters of spelled-out texts be where these are, if some are in forms."""
        self._spans = spans if spans.inside_forms else None

    def part(self, numbers: Sequence[int]) -> Characters:
        """Return some of the characters."""
        found = copy(self)
        found._places = [self._places[i] for i in numbers]
        found.codes = [self.codes[i] for i in numbers]
        return found

    def usable(self) -> bool:
        """Return whether most letters have a meaning, by the file's own character maps."""
        letters = sum(code > 32 for code in self.codes)
        text = "".join(map(chr, self.codes)).translate(BULLETS)
        unknown = len(_NO_MEANING.findall(text))
        unknown += sum(
            pdfium.FPDFText_HasUnicodeMapError(self._page, i) == 1
            for i, code in enumerate(self.codes)
            if code > 32
        )
        return bool(unknown <= _UNUSABLE * max(letters, 1))

    def owner(self, i: int) -> int | None:
        """Return the address of the text object that a character belongs to."""
        return address(pdfium.FPDFText_GetTextObject(self._page, self._places[i]))

    def origin(self, i: int) -> tuple[float, float]:
        """Return where a character starts: x, and the y of its baseline."""
        if self._spans and (found := self._spans.of(self.owner(i))):
            return found[1].left, found[1].base
        pdfium.FPDFText_GetCharOrigin(self._page, self._places[i], self._x, self._y)
        if self.frame is UPRIGHT:
            return self._x.value, self._y.value
        return self.frame.point(self._x.value, self._y.value)

    def box(self, i: int) -> tuple[float, float, float]:
        """Return the left and the right edge of a character with its side bearings, and its height.

        The height is that of the font, whatever the character.
        """
        pdfium.FPDFText_GetLooseCharBox(self._page, self._places[i], self._box)
        left, bottom, right, top = edges = (
            self._box.left, self._box.bottom, self._box.right, self._box.top
        )  # fmt: skip
        if self._spans and (found := self._spans.of(self.owner(i))):
            return found[1].left, found[1].right, abs(top - bottom) * found[1].scale
        if self.frame is not UPRIGHT:
            left, bottom, right, top = self.frame.box(*edges)
        return left, right, abs(top - bottom)
