"""The headings of a PDF: its bookmarks, at the lines that they lead to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pypdfium2.raw as pdfium

from m3rag.documents.document import Heading
from m3rag.documents.pdf.direction import RIGHT_TO_LEFT
from m3rag.documents.pdf.strings import string_of

_DEEPEST = 16
# "3.1", "IV.", "A)", "§ 5", "Chapter 3:" before a title, in the bookmark or on the page only.
_NUMBER = (
    r"(?:(?:[^\W\d_]+\s+)?(?:§\s*)?(?:\d+(?:[.\-–]\d+)*|[IVXLC]+|[A-Z](?:\.\d+)*)"
    r"(?:[.):]\s*|\s+))"
)
_NUMBERED = re.compile(rf"{_NUMBER}(?=\S)")
_DASH = r"(?:[-–—]\s+)"
_DASHED = re.compile(rf"\A{_DASH}(?=\S)")
_LAST = r"[^\S\n]*$"
_SIGNS = ".,:;!?()[]\"'«»،؛؟-–—"  # around words, which change sides where words are turned


class Bookmark(NamedTuple):
    """A bookmark.

    Attributes:
        level: The level of its heading; 1 is the highest.
        title: Its title.
        page: The number of the page that it leads to, from 0.
    """

    level: int
    title: str
    page: int


class _Place(NamedTuple):
    """A title in a text, and where it starts and ends."""

    title: str
    start: int
    end: int


def bookmarks(pdf: Any) -> Iterator[Bookmark]:
    """Yield the bookmarks of a document of `pypdfium2` that lead to a page, in order."""
    for entry in pdf.get_toc(max_depth=_DEEPEST):
        title = " ".join(string_of(pdfium.FPDFBookmark_GetTitle, entry.raw).split())
        target = entry.get_dest()
        page = target.get_index() if target is not None else None
        if title and page is not None:
            yield Bookmark(entry.level + 1, title, page)


def headings(marks: Iterable[Bookmark], text: str, pages: Sequence[int]) -> Iterator[Heading]:
    """Yield the headings of a document.

    A heading starts where a line of its page starts with its title, with or without a number. The
    heading of a title that its page does not have starts at the page, because the text there is no
    longer that of the heading before it.
    """
    after = 0
    for mark in marks:
        if mark.page >= len(pages):
            continue
        start = pages[mark.page]
        end = pages[mark.page + 1] if mark.page + 1 < len(pages) else len(text)
        if found := _line_of(mark.title, text, max(after, start), end):
            yield Heading(mark.level, found.title, found.start)
            after = found.end
        elif after <= start < end:
            yield Heading(mark.level, mark.title, start)
            after = start + 1


def _line_of(title: str, text: str, start: int, end: int) -> _Place | None:
    """Return the line that a title is, or starts.

    Chromium loses the spaces at which a title is broken, and writes the words of right-to-left
    titles in the order in which they are drawn; then the title is the one of the page.
    """
    numbered = _NUMBERED.match(title)
    bare = title[numbered.end() :] if numbered else title
    exact, lenient = _pattern(title), rf"{_NUMBER}?{_DASH}?{_pattern(_DASHED.sub('', bare))}"
    tight = r"\s*".join(map(re.escape, "".join(title.split())))
    turned = _turned(title)
    for rest in (_LAST, ""):
        for words in (exact, lenient, tight, *((turned,) if RIGHT_TO_LEFT.search(title) else ())):
            line = re.compile(rf"^[^\S\n]*({words})(?!\w){rest}", re.MULTILINE | re.IGNORECASE)
            if found := line.search(text, start, end):
                shown = " ".join(found[1].split()) if words in (tight, turned) else title
                return _Place(shown, found.start(), found.end())
    return None


def _turned(title: str) -> str:
    """Return the pattern of the words of a title in reverse order, with any signs around them."""
    words = [bare for word in reversed(title.split()) if (bare := word.strip(_SIGNS))]
    signs = re.escape(_SIGNS)
    return rf"[{signs}]*" + rf"[\s{signs}]+".join(map(re.escape, words or [title])) + rf"[{signs}]*"


def _pattern(title: str) -> str:
    return r"\s+".join(map(re.escape, title.split()))
