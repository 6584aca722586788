"""Writers of office files, each with the library of its format."""

import io
from collections.abc import Iterator
from datetime import date
from typing import Any

import docx
import odfdo
import pptx
import xlsxwriter
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import OxmlElement
from docx.oxml.ns import nsdecls, qn

from tests.documents.corpus.texts import Source


def office_files(source: Source) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each file."""
    yield "word.docx", word(source)
    yield "slides.pptx", slides(source)
    yield "sheets.xlsx", sheets(source)
    yield "text.odt", open_text(source)


def word(source: Source) -> bytes:
    """Return a Word document with a header, a footer, a footnote and a page break."""
    document = docx.Document()
    document.core_properties.title = source.title
    section = document.sections[0]
    section.header.paragraphs[0].text = f"{source.title} – {source.page_title}"
    document.add_heading(source.title, 1)
    document.add_paragraph(source.intro)
    document.add_heading(source.list_title, 2)
    for item in source.items:
        document.add_paragraph(item, style="List Number")
    bidi = "<w:pPr><w:bidi/></w:pPr>" if source.right_to_left else ""
    note = f"{bidi}<w:r><w:footnoteRef/></w:r><w:r><w:t>{source.note}</w:t></w:r>"
    _footnote(document, document.add_paragraph(source.noted), note)
    document.add_heading(source.table_title, 2)
    table = document.add_table(0, 3, style="Table Grid")
    for row in source.table:
        for cell, text in zip(table.add_row().cells, row, strict=True):
            cell.text = text
    document.add_page_break()
    document.add_heading(source.page_title, 2)
    document.add_paragraph(source.closing)
    if source.right_to_left:
        _turn(document.element.body)
        table._tbl.tblPr.append(OxmlElement("w:bidiVisual"))
    return _saved(document)


def _turn(body: Any) -> None:
    """Make all paragraphs right to left."""
    for paragraph in body.iter(qn("w:p")):
        paragraph.get_or_add_pPr().append(OxmlElement("w:bidi"))
        for run in paragraph.iter(qn("w:r")):
            run.get_or_add_rPr().append(OxmlElement("w:rtl"))


def _footnote(document: Any, paragraph: Any, content: str) -> None:
    """Add a footnote, for which python-docx has no function."""
    reference = OxmlElement("w:footnoteReference")
    reference.set(qn("w:id"), "1")
    paragraph.add_run()._r.append(reference)
    notes = f"""<w:footnotes {nsdecls("w")}>
<w:footnote w:type="separator" w:id="-1"><w:p><w:r><w:separator/></w:r></w:p></w:footnote>
<w:footnote w:id="1"><w:p>{content}</w:p></w:footnote>
</w:footnotes>"""
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
    part = Part(PackURI("/word/footnotes.xml"), kind, notes.encode(), document.part.package)
    document.part.relate_to(part, RELATIONSHIP_TYPE.FOOTNOTES)


def slides(source: Source) -> bytes:
    """Return a presentation of three slides, with notes, a table and a grouped box."""
    deck = pptx.Presentation()
    first = deck.slides.add_slide(deck.slide_layouts[0])
    first.shapes.title.text, first.placeholders[1].text = source.title, source.intro
    second = deck.slides.add_slide(deck.slide_layouts[1])
    second.shapes.title.text = source.list_title
    second.placeholders[1].text = "\n".join(source.items)
    second.notes_slide.notes_text_frame.text = source.note
    third = deck.slides.add_slide(deck.slide_layouts[5])
    third.shapes.title.text = source.table_title
    place = [pptx.util.Cm(n) for n in (2, 5, 20, 4)]
    table = third.shapes.add_table(3, 3, *place).table
    for i, row in enumerate(source.table):
        for j, text in enumerate(row):
            table.cell(i, j).text = text
    group = third.shapes.add_group_shape()
    box = group.shapes.add_textbox(*(pptx.util.Cm(n) for n in (2, 12, 20, 3)))
    box.text_frame.text = source.closing
    if source.right_to_left:
        table._tbl.tblPr.set("rtl", "1")
        for paragraph in (p for slide in deck.slides for p in slide.element.iter(_drawing("p"))):
            paragraph.get_or_add_pPr().set("rtl", "1")
    return _saved(deck)


def _drawing(name: str) -> str:
    return f"{{http://schemas.openxmlformats.org/drawingml/2006/main}}{name}"


def sheets(source: Source) -> bytes:
    """Return a workbook: a table below a title, and a sheet with dates, formulas and numbers."""
    data = io.BytesIO()
    book = xlsxwriter.Workbook(data)
    first = book.add_worksheet(source.table_title)
    first.write(0, 0, source.title)
    for i, row in enumerate(source.table):
        first.write_row(i + 2, 0, row)
    second = book.add_worksheet(source.page_title)
    day = book.add_format({"num_format": "d mmm yyyy"})
    second.write_row(0, 0, source.table[0])
    for i, text in enumerate(source.items, start=1):
        second.write(i, 0, text)
        second.write_formula(i, 1, f"={i}*1.5", value=i * 1.5)
        second.write_datetime(i, 2, date(2026, 3, i), day)
    book.close()
    return data.getvalue()


def open_text(source: Source) -> bytes:
    """Return an OpenDocument text with a list, a footnote, a table and a page break."""
    document = odfdo.Document("text")
    body = document.body
    body.clear()
    document.meta.title = source.title
    page = odfdo.Style("paragraph", name="page", parent_style="Heading_20_2")
    page.set_properties({"fo:break-before": "page"}, area="paragraph")
    document.insert_style(page, automatic=True)
    if source.right_to_left:
        usual = document.get_style("paragraph")
        usual.set_properties({"style:writing-mode": "rl-tb"}, area="paragraph")
    body.append(_header(1, source.title, "Heading_20_1"))
    body.append(odfdo.Paragraph(source.intro))
    body.append(_header(2, source.list_title, "Heading_20_2"))
    body.append(odfdo.List(list(source.items)))
    noted = odfdo.Paragraph(source.noted)
    noted.insert_note(after=source.noted, note_id="n1", citation="1", body=source.note)
    body.append(noted)
    body.append(_header(2, source.table_title, "Heading_20_2"))
    table = odfdo.Table("t", width=3, height=3)
    table.set_values([list(row) for row in source.table])
    body.append(table)
    body.append(_header(2, source.page_title, "page"))
    body.append(odfdo.Paragraph(source.closing))
    return _saved(document)


def _header(level: int, text: str, style: str) -> odfdo.Header:
    header = odfdo.Header(level, text)
    header.style = style  # the constructor ignores it
    return header


def _saved(document: Any) -> bytes:
    data = io.BytesIO()
    document.save(data)
    return data.getvalue()
