"""The result of parsing a file, and the writer that parsers share."""

from __future__ import annotations

from typing import NamedTuple

from m3rag.documents.document import Heading


class Content(NamedTuple):
    """A file's text, headings, title and pages.

    Attributes:
        text: The text, as in `Document`.
        headings: The headings, as in `Document`.
        title: The title; None if there is none.
        pages: The start of each page, as in `Document`.
    """

    text: str
    headings: tuple[Heading, ...] = ()
    title: str | None = None
    pages: tuple[int, ...] = ()


class Writer:
    """A builder that joins blocks to a text and records where the headings start."""

    def __init__(self) -> None:
        self.headings: list[Heading] = []
        self.length = 0
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """The text written so far."""
        return "".join(self._parts)

    def block(self, text: str, *, gap: str = "\n\n") -> int:
        """Write a paragraph or another block after a gap, and return where it starts."""
        text = text.strip("\n").rstrip()
        if not text.strip():
            return self.length
        if self.length:
            self._append(gap)
        start = self.length
        self._append(text)
        return start

    def heading(self, level: int, title: str) -> None:
        """Write a heading as a line of its own."""
        title = " ".join(title.split())
        if title:
            self.headings.append(Heading(level, title, self.block(title)))

    def table(self, rows: list[list[str]]) -> None:
        """Write a table, one line per row, with the cells between bars."""
        cells = ([" ".join(cell.split()) for cell in row] for row in rows)
        self.block("\n".join(f"| {' | '.join(row)} |" for row in cells if any(row)))

    def content(self, *, title: str | None = None, pages: tuple[int, ...] = ()) -> Content:
        """Return what was written; without a title, the first heading is the title."""
        title = " ".join((title or "").split()) or (self.headings[0].title if self.headings else "")
        return Content(self.text, tuple(self.headings), title or None, pages)

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self.length += len(text)
