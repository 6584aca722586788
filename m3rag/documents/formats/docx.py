"""Word documents (.docx): paragraphs, headings, lists and tables, in order.

The parser uses python-docx, because it handles the format's parts and styles. Its
`Paragraph.text` omits tracked insertions, content controls and text boxes, so the text is
collected from the XML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any, NamedTuple

import docx
from docx.document import Document as WordDocument
from docx.text.paragraph import Paragraph

from m3rag.documents.decoding import check_length
from m3rag.documents.formats.archive import xml_parts
from m3rag.documents.formats.content import Budget, Content, Writer
from m3rag.errors import DocumentError

_OLE = b"\xd0\xcf\x11\xe0"  # old .doc files, and encrypted new ones
_HEADING = re.compile(r"heading ([1-9])\Z", re.IGNORECASE)
_RUNS = (
    ".//*[self::w:t or self::w:tab or self::w:br or self::w:cr or self::w:noBreakHyphen]"
    "[not(ancestor::*[local-name()='Fallback'])]"
)
_CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_STYLE = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_UNLIMITED = Budget()


class _Look(NamedTuple):
    """What a paragraph's style says: the level of a heading, and whether it is a list item."""

    level: int | None
    item: bool


def parse(data: bytes, budget: Budget = _UNLIMITED) -> Content:
    """Return the body of a Word document; headers, footers and notes are left out."""
    if data.startswith(_OLE):
        raise DocumentError(
            "it is encrypted, or an old .doc file with the suffix .docx. Save it as .docx without "
            "a password."
        )
    document = docx.Document(BytesIO(xml_parts(data, budget.limits)))
    writer = Writer()
    looks = _Looks(document)
    blocks = list(_blocks(document.element.body))
    titled = any(looks.of(block).level == 0 for block in blocks)
    in_list = False
    for block in blocks:
        check_length(writer.length, budget.limits)
        if _name(block) == "tbl":
            writer.table([[_text(cell) for cell in _cells(row)] for row in block.xpath("./w:tr")])
            in_list = False
            continue
        look = looks.of(block)
        text = _text(block)
        if look.level is not None:
            writer.heading(look.level + titled, text)
        item = look.level is None and (look.item or bool(block.xpath("./w:pPr/w:numPr")))
        if look.level is None:
            mark, gap = ("- ", "\n") if item else ("", "\n\n")
            text = text.strip()
            writer.block(mark + text if text else "", gap=gap if in_list else "\n\n")
        in_list = item
    return writer.content(title=document.core_properties.title)


def _blocks(parent: Any) -> Iterator[Any]:
    """Yield paragraphs and tables, including those in content controls and tracked changes."""
    for child in parent:
        if _name(child) in ("p", "tbl"):
            yield child
        elif _name(child) in ("sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag"):
            yield from _blocks(child)


def _name(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _text(element: Any) -> str:
    """Return all text in an element; paragraphs in it (cells, text boxes) are separate lines."""
    paragraphs = element.xpath(".//w:p[not(ancestor::*[local-name()='Fallback'])]")
    if paragraphs and _name(element) != "p":
        return "\n".join(map(_text, paragraphs))
    return "".join(_CHARACTERS.get(_name(run), run.text or "") for run in element.xpath(_RUNS))


def _cells(row: Any) -> list[Any]:
    """Return the cells of a row; Word leaves those covered by a cell above empty."""
    return list(row.xpath("./w:tc | ./w:sdt/w:sdtContent/w:tc"))


class _Looks:
    """The looks of a document's styles; finding a style takes long, so each is found once."""

    def __init__(self, document: WordDocument) -> None:
        self._document = document
        self._known: dict[str | None, _Look] = {}

    def of(self, block: Any) -> _Look:
        """Return the look of a paragraph; a table has none."""
        if _name(block) != "p":
            return _Look(None, item=False)
        properties = block.find(f"{_STYLE}pPr")
        style = None if properties is None else properties.find(f"{_STYLE}pStyle")
        key = None if style is None else style.get(f"{_STYLE}val")
        if key not in self._known:
            self._known[key] = self._find(block)
        return self._known[key]

    def _find(self, block: Any) -> _Look:
        """Return the look of a paragraph, by its style, the style it is based on, and so on."""
        level = None
        style: Any = Paragraph(block, self._document._body).style
        item = False
        for _ in range(16):  # the styles of a broken file may form a circle
            if style is None:
                break
            name = style.name or ""
            item = item or name.startswith("List ")
            if level is None and (found := _HEADING.match(name)):
                level = int(found[1])
            elif level is None and name == "Title":
                level = 0
            style = style.base_style
        return _Look(level, item)
