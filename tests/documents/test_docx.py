import io
import re
import time
import zipfile

import docx
import pytest
from docx.oxml import parse_xml

from m3rag.documents import Heading
from m3rag.documents.formats.docx import parse
from m3rag.documents.word.formulas import linear
from m3rag.documents.word.numbering import formatted
from tests.documents.conftest import saved

_SPACES = (
    'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
    'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math" '
    'xmlns:v="urn:schemas-microsoft-com:vml" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
)
_NOTES = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"


def xml(text: str):
    """Return an element of Word from its XML; "w:" and the like need no declaration."""
    return parse_xml(re.sub(r"/?>", lambda end: f" {_SPACES}{end[0]}", text, count=1))


def with_body(*blocks: str) -> bytes:
    word = docx.Document()
    for block in blocks:
        word.element.body.insert(len(word.element.body) - 1, xml(block))
    return saved(word)


def text_of(*blocks: str) -> str:
    return parse(with_body(*blocks)).text


def run(text: str) -> str:
    return f"<w:r><w:t>{text}</w:t></w:r>"


# Runs


def test_moved_text_is_there_once_and_deleted_text_is_not():
    assert text_of(
        f"<w:p><w:moveFrom>{run('Moved.')}</w:moveFrom></w:p>",
        f"<w:p>{run('Middle')}<w:del><w:r><w:delText>gone</w:delText></w:r></w:del>{run('.')}</w:p>",
        f"<w:p><w:moveTo>{run('Moved.')}</w:moveTo></w:p>",
    ) == "Middle.\n\nMoved."  # fmt: skip


def test_text_boxes_are_apart_and_there_once():
    box = f"<w:txbxContent><w:p>{run('First')}</w:p><w:p>{run('Second')}</w:p></w:txbxContent>"
    drawn = (
        f"<w:r><mc:AlternateContent><mc:Choice Requires='wps'><w:drawing>{box}</w:drawing>"
        f"</mc:Choice><mc:Fallback><w:pict><v:textbox>{box}</v:textbox></w:pict></mc:Fallback>"
        "</mc:AlternateContent></w:r>"
    )
    assert text_of(f"<w:p>{run('Body')}{drawn}{run(' text.')}</w:p>") == (
        "Body text.\n\nFirst\n\nSecond"
    )


def test_codes_of_fields_are_no_text():
    assert text_of(f"<w:p><w:r><w:instrText>PAGE</w:instrText></w:r>{run('7')}</w:p>") == "7"


def test_a_symbol_is_a_bullet_or_nothing():
    assert text_of("<w:p><w:r><w:sym w:char='F0B7'/></w:r>" + run(" Ferns") + "</w:p>") == "• Ferns"
    assert text_of("<w:p><w:r><w:sym w:char='F04A'/></w:r>" + run("Ferns") + "</w:p>") == "Ferns"


def test_what_a_field_asks_for_and_what_nobody_sees_is_no_text():
    prompt = "<w:sdt><w:sdtPr><w:showingPlcHdr/></w:sdtPr><w:sdtContent>{}</w:sdtContent></w:sdt>"
    inside, around = prompt.format(run("Type here")), prompt.format(f"<w:p>{run('Or here')}</w:p>")
    filled = f"<w:sdt><w:sdtContent>{run('Ana')}</w:sdtContent></w:sdt>"
    label = run("Na\u00adme: ")
    assert text_of(f"<w:p>{label}{inside}{filled}</w:p>", around) == "Name: Ana"


# Formulas


def math(text: str) -> str:
    return f"<m:r><m:t>{text}</m:t></m:r>"


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (f"{math('m')}<m:sSup><m:e>{math('c')}</m:e><m:sup>{math('2')}</m:sup></m:sSup>", "mc^2"),
        (f"<m:f><m:num>{math('a+b')}</m:num><m:den>{math('c')}</m:den></m:f>", "(a+b)/c"),
        (f"<m:rad><m:deg/><m:e>{math('x')}</m:e></m:rad>", "√(x)"),
        (
            f"<m:nary><m:naryPr><m:chr m:val='∑'/></m:naryPr><m:sub>{math('i=1')}</m:sub>"
            f"<m:sup>{math('n')}</m:sup><m:e>{math('i')}</m:e></m:nary>",
            "∑_(i=1)^n i",
        ),
        (f"<m:d><m:dPr><m:begChr m:val='['/><m:endChr m:val=')'/></m:dPr><m:e>{math('0')}</m:e>"
         f"<m:e>{math('1')}</m:e></m:d>", "[0,1)"),
        (f"<m:func><m:fName>{math('sin')}</m:fName><m:e>{math('x')}</m:e></m:func>", "sin x"),
        (f"<m:m><m:mr><m:e>{math('1')}</m:e><m:e>{math('2')}</m:e></m:mr><m:mr><m:e>{math('3')}"
         "</m:e></m:mr></m:m>", "1 2; 3"),
    ],
)  # fmt: skip
def test_a_formula_is_a_line(formula, text):
    assert linear(xml(f"<m:oMath>{formula}</m:oMath>")) == text
    paragraph = f"<w:p>{run('so ')}<m:oMath>{formula}</m:oMath>{run(' here')}</w:p>"
    assert text_of(paragraph) == f"so {text} here"


def test_a_deep_formula_takes_the_time_of_its_size():
    fraction = math("x")
    for _ in range(20):
        fraction = f"<m:f><m:num>{fraction}</m:num><m:den>{math('y')}</m:den></m:f>"
    started = time.process_time()
    assert linear(xml(f"<m:oMath>{fraction}</m:oMath>")).count("/y") == 20
    assert time.process_time() - started < 1


# Lists


def test_numbers_of_lists_are_counted():
    word = docx.Document()
    for text in ("Term", "Price"):
        word.add_paragraph(text, style="List Number")
    word.add_paragraph("Between.")
    word.add_paragraph("Notice", style="List Number")
    assert parse(saved(word)).text == "1. Term\n2. Price\n\nBetween.\n\n3. Notice"


def levels(*forms: tuple[str, str]) -> str:
    return "".join(
        f"<w:lvl w:ilvl='{i}'><w:start w:val='1'/><w:numFmt w:val='{form}'/>"
        f"<w:lvlText w:val='{text}'/></w:lvl>"
        for i, (form, text) in enumerate(forms)
    )


def listed(*items: tuple[int, str], number: int = 99) -> bytes:
    """Return a document with items of a list: their levels and texts."""
    word = docx.Document()
    root = word.part.numbering_part.element
    forms = levels(
        ("decimal", "%1."), ("decimal", "%1.%2"), ("lowerLetter", "%3)"), ("bullet", "o")
    )
    definition = xml(f"<w:abstractNum w:abstractNumId='99'>{forms}</w:abstractNum>")
    root.insert(0, definition)
    root.append(xml("<w:num w:numId='99'><w:abstractNumId w:val='99'/></w:num>"))
    again = "<w:lvlOverride w:ilvl='0'><w:startOverride w:val='1'/></w:lvlOverride>"
    root.append(xml(f"<w:num w:numId='98'><w:abstractNumId w:val='99'/>{again}</w:num>"))
    for level, text in items:
        number = 98 if text.startswith("again") else 99
        properties = f"<w:numPr><w:ilvl w:val='{level}'/><w:numId w:val='{number}'/></w:numPr>"
        block = xml(f"<w:p><w:pPr>{properties}</w:pPr>{run(text)}</w:p>")
        word.element.body.insert(len(word.element.body) - 1, block)
    return saved(word)


def test_levels_are_indented_and_numbered():
    items = [(0, "a"), (1, "b"), (1, "c"), (2, "d"), (3, "e"), (0, "f"), (1, "g"), (0, "again")]
    assert parse(listed(*items)).text.split("\n") == [
        "1. a", "  1.1 b", "  1.2 c", "    a) d", "      - e", "2. f", "  2.1 g", "1. again",
    ]  # fmt: skip


def test_a_heading_has_its_number():
    word = docx.Document()
    root = word.part.numbering_part.element
    forms = levels(("decimal", "%1"), ("decimal", "%1.%2"))
    root.insert(0, xml(f"<w:abstractNum w:abstractNumId='99'>{forms}</w:abstractNum>"))
    root.append(xml("<w:num w:numId='99'><w:abstractNumId w:val='99'/></w:num>"))
    for level in (1, 2):
        style = word.styles[f"Heading {level}"].element
        number = f"<w:numPr><w:ilvl w:val='{level - 1}'/><w:numId w:val='99'/></w:numPr>"
        style.get_or_add_pPr().append(xml(number))
        word.add_heading(f"Part {level}", level)
    content = parse(saved(word))
    assert content.headings == (Heading(1, "1 Part 1", 0), Heading(2, "1.1 Part 2", 10))


@pytest.mark.parametrize(
    ("count", "form", "text"),
    [(28, "lowerLetter", "bb"), (1994, "upperRoman", "MCMXCIV"), (7, "decimalZero", "07"),
     (3, "chineseCounting", "3"), (0, "lowerRoman", "0")],
)  # fmt: skip
def test_formats_of_numbers(count, form, text):
    assert formatted(count, form) == text


# Notes, headers and footers


def with_notes(*, table: bool = False) -> bytes:
    word = docx.Document()
    reference = "<w:r><w:footnoteReference w:id='2'/></w:r>"
    noted = f"<w:p>{run('See the note')}{reference}{run('.')}</w:p>"
    if table:
        noted = f"<w:tbl><w:tr><w:tc>{noted}</w:tc></w:tr></w:tbl>"
    for text in (noted, f"<w:p>{run('After.')}</w:p>"):
        word.element.body.insert(len(word.element.body) - 1, xml(text))
    notes = (
        f"<w:footnotes {_SPACES}><w:footnote w:id='0'><w:p/></w:footnote><w:footnote w:id='2'>"
        f"<w:p>{run('The pump is new.')}</w:p></w:footnote></w:footnotes>"
    )
    name = docx.opc.packuri.PackURI("/word/footnotes.xml")
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
    part = docx.opc.part.Part(name, kind, notes.encode(), word.part.package)
    word.part.relate_to(part, _NOTES)
    return saved(word)


def test_notes_follow_the_paragraph_that_refers_to_them():
    assert parse(with_notes()).text == "See the note[1].\n\n[1] The pump is new.\n\nAfter."


def test_headers_and_footers_are_there_once():
    word = docx.Document()
    word.add_paragraph("Text.")
    for _ in range(2):
        section = word.add_section()
        section.header.is_linked_to_previous = False
        section.header.paragraphs[0].text = "Manual of the pump"
    section.footer.paragraphs[0].text = "12"
    word.sections[0].footer.paragraphs[0].text = "Version 3"
    assert parse(saved(word)).text == "Manual of the pump\n\nText.\n\nVersion 3"


def test_comments_follow_the_paragraph_or_the_table_that_they_are_on():
    word = docx.Document()
    word.add_comment(word.add_paragraph("Text.").runs, text="Check this.", author="Ana")
    cell = word.add_table(1, 1).cell(0, 0)
    cell.text = "a"
    word.add_comment(cell.paragraphs[0].runs, text="And that.", author="")
    assert parse(saved(word)).text == "Text.\n\n[Ana: Check this.]\n\n| a |\n\n[And that.]"


def test_notes_of_a_table_follow_it():
    data = with_notes(table=True)
    assert parse(data).text == "| See the note[1]. |\n\n[1] The pump is new.\n\nAfter."


# Tables


def test_covered_cells_are_empty():
    word = docx.Document()
    table = word.add_table(2, 3)
    for i, row in enumerate(table.rows):
        for j, cell in enumerate(row.cells):
            cell.text = f"{i}{j}"
    table.cell(0, 0).merge(table.cell(0, 1)).text = "wide"
    assert parse(saved(word)).text == "| wide |  | 02 |\n| 10 | 11 | 12 |"


def test_cells_that_a_row_leaves_out_are_empty_and_lists_in_cells_have_their_numbers():
    before = "<w:trPr><w:gridBefore w:val='1'/></w:trPr>"
    cells = "".join(f"<w:tc><w:p>{run(t)}</w:p></w:tc>" for t in "bc")
    assert text_of(f"<w:tbl><w:tr>{before}{cells}</w:tr></w:tbl>") == "|  | b | c |"
    word = docx.Document()
    word.add_paragraph("One", style="List Number")
    cell = word.add_table(1, 1).cell(0, 0)
    cell.paragraphs[0].style, cell.paragraphs[0].text = "List Number", "Two"
    word.add_paragraph("Three", style="List Number")
    assert parse(saved(word)).text == "1. One\n\n| 2. Two |\n\n3. Three"


def test_a_table_in_a_cell_is_in_the_cell():
    word = docx.Document()
    outer = word.add_table(1, 2)
    outer.cell(0, 0).text = "a"
    outer.cell(0, 1).add_table(1, 1).cell(0, 0).text = "b"
    assert parse(saved(word)).text == "| a | b |"


# Variants of the format


def replaced(data: bytes, *pairs: tuple[str, str]) -> bytes:
    """Return a file in whose parts strings are replaced."""
    copy = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            for before, after in pairs:
                part = part.replace(before.encode(), after.encode())
            new.writestr(name, part)
    return copy.getvalue()


def test_the_strict_variant_is_read():
    usual, strict = "http://schemas.openxmlformats.org", "http://purl.oclc.org/ooxml"
    kinds = ("wordprocessingml", "officeDocument", "drawingml")
    pairs = [(f"{usual}/{kind}/2006/", f"{strict}/{kind}/") for kind in kinds]
    assert parse(replaced(with_notes(), *pairs)) == parse(with_notes())


def test_files_with_macros_and_templates_are_read():
    usual = "vnd.openxmlformats-officedocument.wordprocessingml.document.main"
    for kind in (
        "vnd.ms-word.document.macroEnabled.main",
        "vnd.ms-word.template.macroEnabledTemplate.main",
        "vnd.openxmlformats-officedocument.wordprocessingml.template.main",
    ):
        assert parse(replaced(with_notes(), (usual, kind))) == parse(with_notes())


def test_the_title_is_that_of_the_file_however_its_properties_are_found():
    word = docx.Document()
    word.core_properties.title = "Pump"
    word.add_paragraph("Text.")
    other = ("package/2006/relationships/metadata/core", "officedocument/2006/relationships/core")
    assert parse(replaced(saved(word), other)).title == "Pump"
    none = ("metadata/core-properties", "metadata/nothing")
    assert parse(replaced(saved(word), none)).title is None


# Size


def test_thousands_of_styles_take_little_time():
    word = docx.Document()
    styles = word.styles.element
    for i in range(3_000):
        name = f"<w:name w:val='Own {i}'/><w:basedOn w:val='Normal'/>"
        styles.append(xml(f"<w:style w:type='paragraph' w:styleId='s{i}'>{name}</w:style>"))
    for i in range(3_000):
        block = f"<w:p><w:pPr><w:pStyle w:val='s{i}'/></w:pPr>{run(str(i))}</w:p>"
        word.element.body.insert(len(word.element.body) - 1, xml(block))
    data = saved(word)
    start = time.process_time()
    assert parse(data).text.endswith("2999")
    assert time.process_time() - start < 3  # 0.3 s when nothing else runs


def test_styles_in_a_circle_end():
    word = docx.Document()
    for name, base in (("a", "b"), ("b", "a")):
        style = (
            f"<w:style w:type='paragraph' w:styleId='{name}'><w:basedOn w:val='{base}'/></w:style>"
        )
        word.styles.element.append(xml(style))
    block = xml(f"<w:p><w:pPr><w:pStyle w:val='a'/></w:pPr>{run('Text.')}</w:p>")
    word.element.body.insert(0, block)
    assert parse(saved(word)).text == "Text."


def test_damaged_parts_beside_the_body_cost_only_themselves():
    data = with_notes()
    copy = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"<w:" if name == "word/footnotes.xml" else old.read(name))
    assert parse(copy.getvalue()).text == "See the note[1].\n\nAfter."
