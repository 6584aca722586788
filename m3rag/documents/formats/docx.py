"""Word documents (.docx): paragraphs, headings, lists, tables and notes, in order.

The parser uses python-docx, because it handles the format's parts and relations. Its
`Paragraph.text` omits tracked insertions, content controls, text boxes, formulas and notes, so the
text is collected from the XML.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import docx
from docx.opc.part import XmlPart
from docx.oxml.ns import qn

from m3rag.documents.decoding import check_length
from m3rag.documents.formats.archive import refuse_old, xml_parts
from m3rag.documents.formats.content import UNLIMITED, Budget, Content, Writer
from m3rag.documents.markup import local, parse_xml
from m3rag.documents.word.inline import inline
from m3rag.documents.word.numbering import Numbering
from m3rag.documents.word.styles import Look, Styles
from m3rag.errors import DocumentError

_WRAPPERS = ("sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag")
_AROUND = (*_WRAPPERS, "tbl", "tr", "tc")  # what paragraphs may be in
_DEEPEST = 20  # tables and boxes in each other


def _word(name: str) -> str:
    return str(qn(f"w:{name}"))


def parse(data: bytes, budget: Budget = UNLIMITED) -> Content:
    """Return the text of a Word document; comments and deleted text are left out."""
    refuse_old(data, ".doc")
    document = docx.Document(BytesIO(xml_parts(data, budget.limits)))
    body = _Body(_Parts(document.part), budget)
    body.write(document.element.body)
    return body.writer.content(title=document.core_properties.title)


class _Parts:
    """The parts of the file beside its body."""

    def __init__(self, main: Any) -> None:
        self._parts: dict[str, list[Any]] = {}
        for relation in main.rels.values():
            if not relation.is_external:
                kind = relation.reltype.rpartition("/")[2]
                self._parts.setdefault(kind, []).append(relation.target_part)

    def roots(self, kind: str) -> Iterator[Any]:
        """Yield the roots of the parts of a kind, such as "header"; damaged ones are left out."""
        for part in self._parts.get(kind, ()):
            if isinstance(part, XmlPart):  # parsed already
                yield part.element
                continue
            try:
                yield parse_xml(part.blob)
            except DocumentError:
                continue


class _Body:
    """The walk through the blocks of the document."""

    def __init__(self, parts: _Parts, budget: Budget) -> None:
        self.writer = Writer()
        self._parts, self._budget = parts, budget
        self._styles = Styles(next(parts.roots("styles"), None), _word)
        self._numbering = Numbering(next(parts.roots("numbering"), None), _word)
        self._numbers: dict[tuple[str, str], int] = {}
        self._notes = {
            (kind, note.get(_word("id"), "")): note
            for kind in ("footnotes", "endnotes")
            for root in parts.roots(kind)
            for note in root
        }
        self._titled = 0  # whether the document has a title above its headings
        self._in_list = False

    def write(self, body: Any) -> None:
        """Write the headers, the body with its notes, and the footers."""
        self._around("header")
        blocks = list(_blocks(body))
        looks = [self._styles.of(block) for block in blocks if local(block) == "p"]
        self._titled = int(any(look.level == 0 for look in looks))
        for block in blocks:
            self._block(block)
        self._in_list = False
        self._around("footer")

    def _around(self, kind: str) -> None:
        """Write each different header or footer once; one of page numbers says nothing."""
        seen = set()
        for root in self._parts.roots(kind):
            text = "\n".join(self._lines(root))
            if text not in seen and any(map(str.isalpha, text)):
                seen.add(text)
                self.writer.block(text)

    def _block(self, block: Any, depth: int = 0) -> None:
        check_length(self.writer.length, self._budget.limits)
        if local(block) == "tbl":
            self._in_list = False
            self.writer.table(self._rows(block))
            return
        look = self._styles.of(block)
        found = inline(block, self._numbers)
        text, mark = found.text.strip(), self._mark(look) if found.text.strip() else ""
        if look.level is not None:
            self.writer.heading(look.level + self._titled, f"{mark} {text}".strip(" -"))
        else:
            item = look.item and bool(text)
            indent = "  " * (look.depth or 0) if item else ""
            line = f"{indent}{mark} {text}" if item and mark else f"{indent}{text}"
            self.writer.block(line, gap="\n" if self._in_list and item else "\n\n")
            self._in_list = item
        for box in found.boxes:
            self._in_list = False
            if depth < _DEEPEST:
                for inner in _blocks(box):
                    self._block(inner, depth + 1)
        self._write_notes(found.notes)

    def _mark(self, look: Look) -> str:
        """Return the number or the bullet of a list item, and the number of a heading."""
        if look.number is not None:
            return self._numbering.label(look.number, look.depth or 0) or ""
        return "-" if look.item else ""

    def _write_notes(self, notes: list[tuple[str, str]]) -> None:
        """Write notes below the paragraph that refers to them."""
        for note in notes:
            if (root := self._notes.pop(note, None)) is not None:
                text = "\n".join(self._lines(root)).strip()
                self.writer.block(f"[{self._numbers[note]}] {text}" if text else "")
                self._in_list = False

    def _rows(self, table: Any) -> list[list[str]]:
        """Return the cells of a table, with an empty one for each that another covers."""
        rows = []
        for row in _inside(table, "tr"):
            cells: list[str] = []
            for cell in _inside(row, "tc"):
                cells.append("\n".join(self._lines(cell)))
                span = cell.xpath("./w:tcPr/w:gridSpan/@w:val")
                cells += [""] * (min(int(span[0]), 64) - 1 if span and span[0].isdecimal() else 0)
            rows.append(cells)
        return rows

    def _lines(self, parent: Any) -> Iterator[str]:
        """Yield the paragraphs in a cell, a note, a header or a box."""
        for paragraph in _paragraphs(parent):
            found = inline(paragraph, self._numbers)
            if found.text.strip():
                yield found.text.strip()
            for box in found.boxes:
                yield from self._lines(box)


def _blocks(parent: Any) -> Iterator[Any]:
    return _inside(parent, "p", "tbl")


def _inside(parent: Any, *names: str) -> Iterator[Any]:
    """Yield the elements of some names, including those in content controls and changes."""
    for child in parent:
        if local(child) in names:
            yield child
        elif local(child) in _WRAPPERS:
            yield from _inside(child, *names)


def _paragraphs(parent: Any) -> Iterator[Any]:
    """Yield the paragraphs in an element, but not those in its text boxes."""
    for child in parent:
        if local(child) == "p":
            yield child
        elif local(child) in _AROUND:
            yield from _paragraphs(child)
