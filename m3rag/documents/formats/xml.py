"""XML (.xml): the text of its elements, each element with text as a paragraph.

The parser uses lxml. It knows no vocabulary, but in most of them (DocBook, JATS, TEI, DITA, RSS)
elements with the names below are titles of the element that they are in.
"""

from __future__ import annotations

from typing import Any

from m3rag.documents.decoding import check_length
from m3rag.documents.formats.content import UNLIMITED, Budget, Content, Writer
from m3rag.documents.markup import line_of, local, parse_xml

_TITLES = frozenset(("title", "head", "heading", "article-title"))
_TABLES = frozenset(("table", "informaltable"))
_ROWS, _CELLS = frozenset(("row", "tr")), frozenset(("entry", "cell", "td", "th"))
_LEVELS = 6


def parse(data: bytes, budget: Budget = UNLIMITED) -> Content:
    """Return the text of an XML file; attributes, comments and instructions are left out."""
    walk = _Walk(budget)
    walk.element(parse_xml(data), 0)
    return walk.writer.content()


class _Walk:
    """A walk through the elements that finds the smallest ones which have text of their own."""

    def __init__(self, budget: Budget) -> None:
        self.writer = Writer()
        self._budget = budget

    def element(self, element: Any, level: int) -> None:
        """Write an element; the title of its children is a heading of its level."""
        name = local(element)
        check_length(self.writer.length, self._budget.limits)
        if name in _TITLES and level:
            self.writer.heading(min(level, _LEVELS), line_of(element))
        elif name in _TABLES and (rows := _rows(element)):
            self.writer.table(rows)
        elif not len(element) or _has_text(element):
            self.writer.block(line_of(element))
        else:
            titled = any(local(child) in _TITLES for child in element)
            for child in element:
                if local(child):
                    self.element(child, level + titled)


def _has_text(element: Any) -> bool:
    """Return whether there is text between the children of an element."""
    parts = [element.text, *(child.tail for child in element)]
    return any(part and not part.isspace() for part in parts)


def _rows(table: Any) -> list[list[str]]:
    rows = (row for row in table.iter() if local(row) in _ROWS)
    return [[line_of(cell) for cell in row if local(cell) in _CELLS] for row in rows]
