"""The result of parsing a file, and the writer that parsers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from m3rag.documents.document import Heading
from m3rag.documents.plain_text import table_text, valid
from m3rag.limits import DEFAULT_LIMITS, Limits

_LONGEST_TITLE = 512  # characters; every passage under a heading repeats its title
_LEAD = 80  # characters of the first line of a page that stands for a missing title


def _no_more_time(_seconds: float) -> None:
    """Ignore that a parser asks for more time: nothing limits it."""


class Fields(NamedTuple):
    """Which fields of the records of a .csv, .json or .jsonl file are read.

    Attributes:
        text: The names of the fields that are text, in order; "a.b" is field b of field a. Without
            any, all fields are read, each as "name: value".
        id: The field that names a record, which becomes a heading; None if there is none.
    """

    text: tuple[str, ...] = ()
    id: str | None = None


ALL_FIELDS = Fields()
"""All fields of the records are read."""


class Budget(NamedTuple):
    """What a parser may use, and what it is told about the file.

    Attributes:
        limits: The limits.
        more_time: Called with a number of seconds when a part of a long document is done.
        fields: The fields of records to read.
        encoding: The codec of text files that are not UTF-8 and do not say what they are.
        ocr: The languages in which images are read by OCR, such as "eng+ara"; None for no OCR.
    """

    limits: Limits = DEFAULT_LIMITS
    more_time: Callable[[float], None] = _no_more_time
    fields: Fields = ALL_FIELDS
    encoding: str | None = None
    ocr: str | None = None


UNLIMITED = Budget()
"""What a parser may use that is called without a budget: the usual limits, and any time."""


class Part(NamedTuple):
    """A file in a file, such as an attachment; it is read as a document of its own.

    Attributes:
        name: Its name, with its suffix; its path, if the file has folders.
        data: Its content.
    """

    name: str
    data: bytes


class Content(NamedTuple):
    """A file's text, headings, title and pages.

    Attributes:
        text: The text, as in `Document`. It may be empty if there are parts.
        headings: The headings, as in `Document`.
        title: The title; None if there is none.
        pages: The start of each page, as in `Document`.
        metadata: What else the file says about itself, such as the sender of a mail.
        parts: The files in this file.
        notes: What the file has and the text has not, as in `Document`.
    """

    text: str
    headings: tuple[Heading, ...] = ()
    title: str | None = None
    pages: tuple[int, ...] = ()
    metadata: Mapping[str, str] = MappingProxyType({})
    parts: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()


def clean(content: Content) -> Content:
    """Return the content as valid Unicode, with titles of at most 512 characters.

    Parsers return half of a surrogate pair for broken files. It becomes U+FFFD, which keeps all
    positions.
    """
    headings = tuple(
        Heading(heading.level, short_title(heading.title), heading.start)
        for heading in content.headings
    )
    title = short_title(content.title) if content.title else None
    metadata = {valid(name): short_title(value) for name, value in content.metadata.items()}
    parts = tuple(Part(valid(part.name), part.data) for part in content.parts)
    text, notes = valid(content.text), tuple(map(valid, content.notes))
    return Content(text, headings, title, content.pages, metadata, parts, notes)


def short_title(title: str) -> str:
    """Return a title as valid Unicode, cut after 512 characters."""
    title = valid(title)
    return title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 1].rstrip()}…"


class Writer:
    """A builder that joins blocks to a text and records where the headings start."""

    def __init__(self) -> None:
        self.headings: list[Heading] = []
        self.pages: list[int] = []
        self.length = 0
        self._parts: list[str] = []
        self._waiting = 0  # pages that started after the last block
        self._first = 0  # the part that the last page starts with

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
        self._start_pages(start)
        self._append(text)
        return start

    def page(self) -> None:
        """Start a page: the next block is its first."""
        self._waiting += 1

    def heading(self, level: int, title: str) -> None:
        """Write a heading as a line of its own."""
        title = " ".join(title.split())
        if title:
            self.headings.append(Heading(level, title, self.block(title)))

    def lead(self, level: int) -> None:
        """Make the first line of this page a heading, or the one of the page before would stay."""
        if self.pages and not self._waiting:
            line = self._parts[self._first].split("\n", 1)[0].lstrip("-• ")
            short = line if len(line) <= _LEAD else f"{line[:_LEAD].rstrip()}…"
            self.headings.append(Heading(level, short, self.pages[-1]))

    def table(self, rows: list[list[str]]) -> None:
        """Write a table, one line per row, with the cells between bars."""
        self.block(table_text(rows))

    def include(self, content: Content, *, gap: str = "\n\n") -> None:
        """Write the text of another content, with its headings."""
        start = self.block(content.text, gap=gap)
        skipped = len(content.text) - len(content.text.lstrip("\n"))
        self.headings += [
            Heading(heading.level, heading.title, start + heading.start - skipped)
            for heading in content.headings
        ]

    def content(self, *, title: str | None = None, pages: tuple[int, ...] = ()) -> Content:
        """Return what was written; without a title, the first heading is the title."""
        self._start_pages(self.length)
        title = " ".join((title or "").split()) or (self.headings[0].title if self.headings else "")
        return Content(self.text, tuple(self.headings), title or None, pages or tuple(self.pages))

    def _start_pages(self, start: int) -> None:
        """Let the pages that wait for a block start at a position; the empty ones end there."""
        if self._waiting:
            self._first = len(self._parts)
        self.pages += [start] * self._waiting
        self._waiting = 0

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self.length += len(text)
