"""Word documents (.docx, .docm, .dotx): paragraphs, headings, lists, tables and notes, in order.

The parser uses python-docx, because it handles the format's parts and relations. Its
`Paragraph.text` omits tracked insertions, content controls, text boxes, formulas and notes, so the
text is collected from the XML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import docx
from docx.opc.part import XmlPart
from docx.oxml.ns import qn

from m3rag.documents.decoding import check_length
from m3rag.documents.formats.archive import refuse_old, xml_parts
from m3rag.documents.formats.content import UNLIMITED, Budget, Content, Writer
from m3rag.documents.markup import descendants, local, parse_xml
from m3rag.documents.word.inline import COMMENTS, inline, is_prompt
from m3rag.documents.word.numbering import Numbering
from m3rag.documents.word.styles import Look, Styles
from m3rag.errors import DocumentError

_STRICT = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/")
_USUAL = b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
_VARIANT = re.compile(  # a template, or a file with macros
    rb"application/vnd\.(?:ms-word\.\w+\.macroEnabled\w*|openxmlformats-officedocument\."
    rb"wordprocessingml\.template)\.main\+xml"
)
_WRAPPERS = ("sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag")
_AROUND = (*_WRAPPERS, "tbl", "tr", "tc")  # what paragraphs may be in
_DEEPEST = 20  # tables and boxes in each other
_MOST_COVERED = 64  # cells that one cell covers


def _word(name: str) -> str:
    return str(qn(f"w:{name}"))


def parse(data: bytes, budget: Budget = UNLIMITED) -> Content:
    """Return the text of a Word document; deleted text is left out."""
    refuse_old(data, ".doc")
    document = docx.Document(BytesIO(xml_parts(data, budget.limits, change=_usual)))
    body = _Body(_Parts(document.part), budget)
    body.write(document.element.body)
    package = _Parts(document.part.package)  # python-docx invents properties if it finds none
    titles = (descendants(root, "title") for root in package.roots("core-properties"))
    return body.writer.content(title=next((found[0].text for found in titles if found), None))


def _usual(part: bytes) -> bytes:
    """Return a part of a file in another variant of the format as one in the usual variant."""
    part = _VARIANT.sub(_USUAL, part)
    return _STRICT.sub(rb"http://schemas.openxmlformats.org/\1/2006/", part)


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
            for kind in ("footnotes", "endnotes", COMMENTS)
            for root in parts.roots(kind)
            for note in root
        }
        self._waiting: list[tuple[str, str]] = []  # notes that are to be written
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
            self._write_notes()
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
        self._waiting += found.notes
        self._write_notes()

    def _mark(self, look: Look) -> str:
        """Return the number or the bullet of a list item, and the number of a heading."""
        if look.number is not None:
            return self._numbering.label(look.number, look.depth or 0) or ""
        return "-" if look.item else ""

    def _write_notes(self) -> None:
        """Write the notes and comments that wait below the paragraph or the table with them."""
        while self._waiting:
            note = self._waiting.pop(0)
            if (root := self._notes.pop(note, None)) is None:
                continue
            text = "\n".join(self._lines(root)).strip()
            if note[0] == COMMENTS:
                author = root.get(_word("author"), "").strip()
                shown = f"[{author}: {text}]" if author else f"[{text}]"
            else:
                shown = f"[{self._numbers[note]}] {text}"
            self.writer.block(shown if text else "")
            self._in_list = False

    def _rows(self, table: Any) -> list[list[str]]:
        """Return the cells of a table, with an empty one for each that another covers."""
        rows = []
        for row in _inside(table, "tr"):
            cells = [""] * _columns(row, "./w:trPr/w:gridBefore/@w:val", 0)
            for cell in _inside(row, "tc"):
                cells.append("\n".join(self._lines(cell)))
                cells += [""] * (_columns(cell, "./w:tcPr/w:gridSpan/@w:val", 1) - 1)
            rows.append(cells)
        return rows

    def _lines(self, parent: Any) -> Iterator[str]:
        """Yield the paragraphs in a cell, a note, a header or a box."""
        for paragraph in _paragraphs(parent):
            found = inline(paragraph, self._numbers)
            self._waiting += found.notes
            if found.text.strip():
                yield f"{self._mark(self._styles.of(paragraph))} {found.text.strip()}".strip()
            for box in found.boxes:
                yield from self._lines(box)


def _columns(element: Any, path: str, usual: int) -> int:
    """Return a number of columns that a row or a cell gives."""
    found = element.xpath(path)
    return min(int(found[0]), _MOST_COVERED) if found and found[0].isdecimal() else usual


def _blocks(parent: Any) -> Iterator[Any]:
    return _inside(parent, "p", "tbl")


def _inside(parent: Any, *names: str) -> Iterator[Any]:
    """Yield the elements of some names, including those in content controls and changes."""
    for child in parent:
        if local(child) in names:
            yield child
        elif local(child) in _WRAPPERS and not is_prompt(child):
            yield from _inside(child, *names)


def _paragraphs(parent: Any) -> Iterator[Any]:
    """Yield the paragraphs in an element, but not those in its text boxes."""
    for child in parent:
        if local(child) == "p":
            yield child
        elif local(child) in _AROUND and not is_prompt(child):
            yield from _paragraphs(child)
