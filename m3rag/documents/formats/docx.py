"""Word documents (.docx): paragraphs, headings, lists and tables, in order.

The parser uses python-docx, because it handles the format's parts and styles. Its
`Paragraph.text` omits tracked insertions, content controls and text boxes, so the text is
collected from the XML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import docx
from docx.document import Document as WordDocument
from docx.text.paragraph import Paragraph

from m3rag.documents.formats.content import Content, Writer
from m3rag.errors import DocumentError

_OLE = b"\xd0\xcf\x11\xe0"  # old .doc files, and encrypted new ones
_HEADING = re.compile(r"heading ([1-9])\Z", re.IGNORECASE)
_RUNS = (
    ".//*[self::w:t or self::w:tab or self::w:br or self::w:cr or self::w:noBreakHyphen]"
    "[not(ancestor::*[local-name()='Fallback'])]"
)
_CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def parse(data: bytes) -> Content:
    """Return the body of a Word document; headers, footers and notes are left out."""
    if data.startswith(_OLE):
        raise DocumentError(
            "it is encrypted, or an old .doc file with the suffix .docx. Save it as .docx without "
            "a password."
        )
    document = docx.Document(BytesIO(data))
    writer = Writer()
    blocks = list(_blocks(document.element.body))
    titled = any(_level(document, block) == 0 for block in blocks)
    in_list = False
    for block in blocks:
        if _name(block) == "tbl":
            writer.table([[_text(cell) for cell in _cells(row)] for row in block.xpath("./w:tr")])
            in_list = False
            continue
        level = _level(document, block)
        if level is not None:
            writer.heading(level + titled, _text(block))
        item = level is None and _is_item(document, block)
        if level is None:
            mark, gap = ("- ", "\n") if item else ("", "\n\n")
            text = _text(block).strip()
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


def _styles(document: WordDocument, block: Any) -> Iterator[Any]:
    """Yield a paragraph's style, then the style it is based on, and so on."""
    style: Any = Paragraph(block, document._body).style
    for _ in range(16):  # the styles of a broken file may form a circle
        if style is None:
            return
        yield style
        style = style.base_style


def _level(document: WordDocument, block: Any) -> int | None:
    """Return a heading's level, 0 for the document's title, None for any other block."""
    if _name(block) != "p":
        return None
    for style in _styles(document, block):
        if found := _HEADING.match(style.name or ""):
            return int(found[1])
        if style.name == "Title":
            return 0
    return None


def _is_item(document: WordDocument, block: Any) -> bool:
    numbered = block.xpath("./w:pPr/w:numPr")
    names = (style.name or "" for style in _styles(document, block))
    return bool(numbered) or any(name.startswith("List ") for name in names)
