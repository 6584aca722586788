"""OpenDocument texts and presentations (.odt, .odp), in order.

The parser reads the XML itself: odfdo, the library for this format, gives elements, not text, and
the walk over them would be the same. In a presentation, a slide is a page and its title a heading.
"""

from __future__ import annotations

import re
from typing import Any

from bs4 import Tag

from m3rag.documents.decoding import check_length
from m3rag.documents.formats.archive import Archive, encrypted
from m3rag.documents.formats.content import UNLIMITED, Budget, Content, Writer
from m3rag.documents.formats.html import tree
from m3rag.documents.formats.mathml import linear
from m3rag.documents.markup import attribute, descendants, local, parse_xml
from m3rag.documents.odf.numbering import Numbering
from m3rag.documents.plain_text import visible
from m3rag.errors import DocumentError

_SKIPPED_TAGS = (
    "tracked-changes annotation annotation-end table-of-content ruby-text forms settings "
    "sequence-decls title desc page-number"
)
_SKIPPED = frozenset(_SKIPPED_TAGS.split())
_HEADING = re.compile(r"Heading_20_[1-9]")
_SPACE = re.compile(r"[ \t\r\n]+")
_DEEPEST = 64  # levels of elements; broken files have more
_MOST_REPEATED = 64  # empty cells that a table may have in a row


def parse(data: bytes, budget: Budget = UNLIMITED) -> Content:
    """Return the text of a document."""
    archive = Archive(data, budget.limits)
    if b"encryption-data" in archive.read("META-INF/manifest.xml"):
        raise encrypted()
    if not (source := archive.read("content.xml")):
        raise DocumentError(
            "it has no content, so it is damaged. Open it in the program that created it and save "
            "it again."
        )
    root, styles = parse_xml(source), archive.read("styles.xml")
    roots = [*([parse_xml(styles)] if styles else []), root]
    walk = _Walk(archive, _style_levels(roots), Numbering(roots), budget)
    walk.around(roots, "header")
    for body in descendants(root, "body"):
        walk.titled = any(walk.level(paragraph) == 0 for paragraph in descendants(body, "p"))
        walk.blocks(body)
    walk.around(roots, "footer")
    meta = archive.read("meta.xml")
    titles = descendants(parse_xml(meta), "title") if meta else []
    return walk.writer.content(title=titles[0].text if titles else None)


def _style_levels(roots: list[Any]) -> dict[str, int]:
    """Return the level of the heading that paragraphs of each style are; a title has level 0."""
    styles = [style for root in roots for style in descendants(root, "style")]
    names = [attribute(style, "name") or "" for style in styles]
    levels = {name: int(name[-1]) for name in names if _HEADING.fullmatch(name)} | {"Title": 0}
    for name, style in zip(names, styles, strict=True):  # direct formatting makes such styles
        parent = attribute(style, "parent-style-name") or ""
        if parent in levels:
            levels.setdefault(name, levels[parent])
    return levels


class _Walk:
    """A walk through the body that writes each paragraph when it ends."""

    def __init__(
        self, archive: Archive, levels: dict[str, int], numbering: Numbering, budget: Budget
    ) -> None:
        self.writer = Writer()
        self.titled = False
        self._archive, self._levels, self._budget = archive, levels, budget
        self._numbering = numbering
        self._in_list = False
        # Frames and notes in the paragraph, each with a prefix; they are written after it.
        self._later: list[tuple[str, Any]] = []

    def level(self, paragraph: Any) -> int | None:
        """Return the level of a heading; 0 for the title of the document, None for a paragraph."""
        if local(paragraph) == "h":
            return max(int(attribute(paragraph, "outline-level") or 1), 1)
        return self._levels.get(attribute(paragraph, "style-name") or "")

    def around(self, roots: list[Any], kind: str) -> None:
        """Write each different header or footer of a text once, without those of page numbers."""
        kinds = (kind, f"{kind}-left", f"{kind}-first")
        parts = [part for root in roots for part in descendants(root, *kinds)]
        texts = ("\n".join(map(self._line, descendants(part, "p", "h"))) for part in parts)
        for text in dict.fromkeys(texts):
            if any(map(str.isalpha, text)):
                self.writer.block(text)
        self._later = []

    def blocks(
        self,
        parent: Any,
        *,
        prefix: str = "",
        depth: int = 0,
        listed: tuple[str, int] = ("", 0),
    ) -> None:
        """Write the blocks in an element.

        Args:
            parent: The element.
            prefix: What the first line starts with.
            depth: How deep the element is in others.
            listed: The style of the list that it is in, and its level, from 1.
        """
        if depth > _DEEPEST:
            return
        for element in parent:
            name = local(element)
            if name in ("p", "h"):
                self._paragraph(element, prefix, depth)
                prefix = " " * len(prefix)
            elif name == "list":
                self._list(element, " " * len(prefix), depth, listed)
            elif name == "table":
                self._table(element, depth)
            elif name == "page":
                self.writer.page()
                self._page(element, depth)
            elif name not in _SKIPPED:
                self.blocks(element, prefix=prefix, depth=depth + 1)

    def _page(self, page: Any, depth: int) -> None:
        """Write a slide: its title, the rest, its notes."""
        shapes = list(page)
        titles = [shape for shape in shapes if attribute(shape, "class") == "title"]
        for title in titles:
            lines = (self._line(paragraph) for paragraph in descendants(title, "p"))
            self.writer.heading(1, " ".join(lines))
        notes = [shape for shape in shapes if local(shape) == "notes"]
        before = len(self.writer.headings)
        for shape in (*(s for s in shapes if s not in titles and s not in notes), *notes):
            self.blocks([shape], depth=depth + 1)
            if not titles and len(self.writer.headings) == before:
                self.writer.lead(1)

    def _paragraph(self, element: Any, prefix: str, depth: int) -> None:
        text = self._line(element).strip()
        later, self._later = self._later, []
        if (level := self.level(element)) is not None:
            mark = prefix.strip(" -")
            if not mark and local(element) == "h":
                mark = self._numbering.heading(element, level)
            self.writer.heading(max(level + self.titled, 1), f"{mark} {text}" if text else "")
        elif text:
            indent = " " * len(prefix)
            gap = "\n" if prefix.strip() and self._in_list else "\n\n"
            self.writer.block(prefix + text.replace("\n", f"\n{indent}"), gap=gap)
            self._in_list = bool(prefix.strip()) or (self._in_list and bool(prefix))
        check_length(self.writer.length, self._budget.limits)
        self._write_later(later, depth)

    def _write_later(self, later: list[tuple[str, Any]], depth: int) -> None:
        for prefix, element in later:
            self._in_list = False
            self.blocks(element, prefix=prefix, depth=depth + 1)
            self._in_list = False

    def _list(self, element: Any, indent: str, depth: int, outer: tuple[str, int]) -> None:
        """Write a list; an item that only has a list in it is not counted."""
        style, level = self._numbering.style_of(element, outer[0]), outer[1] + 1
        self._numbering.begin(element, style, level)
        for item in element:
            if local(item) in ("list-item", "list-header"):
                own = local(item) == "list-item" and any(local(part) in ("p", "h") for part in item)
                mark = self._numbering.item(item, style, level) if own else ""
                prefix = f"{indent}{mark} " if mark else indent
                self.blocks(item, prefix=prefix, depth=depth + 1, listed=(style, level))
        if not indent:
            self._in_list = False

    def _table(self, table: Any, depth: int) -> None:
        rows = []
        for row in descendants(table, "table-row"):
            cells: list[str] = []
            for cell in row:
                if local(cell) in ("table-cell", "covered-table-cell"):
                    text = "\n".join(self._line(p) for p in descendants(cell, "p", "h"))
                    times = int(attribute(cell, "number-columns-repeated") or 1)
                    cells += [text] * min(times, _MOST_REPEATED)
            rows.append(cells)
        later, self._later = self._later, []
        self.writer.table(rows)
        self._write_later(later, depth)

    def _line(self, element: Any, depth: int = 0) -> str:
        """Return the text of a paragraph; white space in the XML counts once."""
        parts = [_SPACE.sub(" ", element.text or "")]
        for child in element:
            name = local(child)
            if name == "s":
                parts.append(" " * min(int(attribute(child, "c") or 1), 64))
            elif name == "tab":
                parts.append("\t")
            elif name == "line-break":
                parts.append("\n")
            elif name == "note":
                marks = [self._line(c) for c in child if local(c) == "note-citation"]
                mark = f"[{marks[0]}]" if marks else ""
                parts.append(mark)
                self._later += [(f"{mark} ", c) for c in child if local(c) == "note-body"]
            elif name == "object":
                parts.append(self._formula(child))
            elif name not in _SKIPPED and descendants(child, "p", "table"):  # a frame or a shape
                self._later.append(("", child))
            elif name and name not in _SKIPPED and depth < _DEEPEST:
                parts.append(self._line(child, depth + 1))
            parts.append(_SPACE.sub(" ", child.tail or ""))
        return visible("".join(parts))

    def _formula(self, element: Any) -> str:
        """Return a formula as a line of text; other objects are left out."""
        path = (attribute(element, "href") or "").removeprefix("./")
        source = self._archive.read(f"{path}/content.xml").replace(b"math:", b"") if path else b""
        formula = tree(source).find("math") if b"<math" in source else None
        return linear(formula) if isinstance(formula, Tag) else ""
