"""reStructuredText (.rst): the text stays as its author wrote it; only the titles are found.

The parser finds them itself: docutils rejects the directives and roles of Sphinx, which most of
these files have, and does not tell where in the text a title is.
"""

from __future__ import annotations

import re
import unicodedata

from m3rag.documents.document import Heading
from m3rag.documents.formats.content import Content

_LINE = re.compile(r"([!-/:-@\[-`{-~])\1*[ \t]*")  # of one punctuation character
_ROLE = re.compile(r":[\w.+:-]+:`([^`<]*?)(?:\s*<[^`>]*>)?`|`([^`<]*?)(?:\s*<[^`>]*>)?`_{0,2}")
_EMPHASIS = re.compile(r"\*\*(\S.*?)\*\*|\*(\S.*?)\*|``(.+?)``")


def parse(text: str) -> Content:
    """Return the text with its titles; the order in which their lines first occur is the level."""
    lines = text.split("\n")
    levels: dict[str, int] = {}
    headings: list[Heading] = []
    start = 0
    for number, line in enumerate(lines):
        if kind := _underlined(lines, number):
            level = levels.setdefault(kind, len(levels) + 1)
            headings.append(Heading(min(level, 6), _plain(line), start))
        start += len(line) + 1
    return Content(text, tuple(headings), headings[0].title if headings else None)


def _underlined(lines: list[str], number: int) -> str:
    """Return the characters around the title in a line: its underline, or both; "" if none."""
    title = lines[number].strip()
    below = lines[number + 1] if number + 1 < len(lines) else ""
    if not title or not below or not _LINE.fullmatch(below) or _LINE.fullmatch(lines[number]):
        return ""
    under = below.rstrip()
    above = lines[number - 1].rstrip() if number else ""
    if above == under and _LINE.fullmatch(above) and not _underlined_above(lines, number):
        return under[0] * 2 if _fits(under, title) else ""
    alone = not above.strip()
    return under[0] if alone and not lines[number][0].isspace() and _fits(under, title) else ""


def _underlined_above(lines: list[str], number: int) -> bool:
    """Return whether the line above is the underline of another title, not an overline."""
    before = lines[number - 2].strip() if number > 1 else ""
    return bool(before) and not _LINE.fullmatch(before)


def _fits(under: str, title: str) -> bool:
    return len(under) >= min(_width(title), 4)


def _width(title: str) -> int:
    """Return the columns that a title takes: two for each wide character."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in title
    )


def _plain(title: str) -> str:
    """Return a title without its markup."""
    title = _ROLE.sub(lambda role: role[1] or role[2] or "", title)
    title = _EMPHASIS.sub(lambda part: part[1] or part[2] or part[3], title)
    return " ".join(title.split())
