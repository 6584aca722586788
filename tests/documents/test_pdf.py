import io
import re
import time
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pypdf
import pytest

from m3rag.documents import Heading, read
from m3rag.documents.formats.pdf import parse
from m3rag.documents.pdf.outline import Bookmark, headings
from m3rag.errors import DocumentError, IncompleteDocumentWarning
from tests.documents.conftest import lines_at
from tests.documents.pdf_writer import Shown, drawn, file_of, pdf, pdf_of

PRINTED = Path(__file__).parent / "printed"


@pytest.fixture
def write(tmp_path):
    def write(data: bytes) -> Path:
        path: Path = tmp_path / "a.pdf"
        path.write_bytes(data)
        return path

    return write


# Pages


def test_pages_are_joined_and_remembered(write):
    document = read(write(pdf("First page.", "Second page\ngoes on")))
    assert document.text == "First page.\n\nSecond page\ngoes on"
    assert document.pages == (0, 13)
    assert document.notes == ()


def test_a_page_that_cannot_be_read_is_named_and_the_others_are_read(write):
    data = pdf("One.", "Two.", "Three.").replace(b"(Two.) Tj", b"[628 FR 1]TJ")
    path = write(data)
    with pytest.warns(IncompleteDocumentWarning, match=r"a\.pdf: 1 of 3 pages \(2\) without text"):
        document = read(path)
    assert document.text == "One.\n\nThree."
    assert document.pages == (0, 4, 6)
    assert len(document.notes) == 1


def test_a_page_that_is_missing_is_named():
    data = pdf("One.", "Two.", "Three.")
    pages = re.findall(rb"/Kids \[([^\]]*)\]", data)[0].split(b" R")[:3]
    content = parse(data.replace(pages[1], b" 99 0"))
    assert "One." in content.text
    assert "Three." in content.text
    assert len(content.notes) == 1


def test_many_pages_without_text_are_counted():
    [note] = parse(pdf("One.", *[""] * 20)).notes
    assert note.startswith(
        "20 of 21 pages (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, …) without text"
    )


def test_a_scan_needs_ocr(write):
    with pytest.raises(DocumentError, match=r"none of its 2 pages has text.*OCR"):
        read(write(pdf("", "")))


@pytest.mark.parametrize("data", [b"no pdf at all", b"%PDF-1.4\n1 0 obj", pdf("Text")[:300]])
def test_a_damaged_file_is_refused(write, data):
    with pytest.raises(DocumentError, match="damaged"):
        read(write(data))


# Encryption


@pytest.mark.parametrize("algorithm", ["RC4-128", "RC4-40"])
def test_a_file_for_everyone_is_read_although_it_is_encrypted(algorithm):
    assert parse(pdf("For all.", owner="x", algorithm=algorithm)).text == "For all."


def test_a_file_encrypted_with_aes_for_everyone_is_read():
    assert parse((PRINTED / "aes-256.pdf").read_bytes()).text == "The pump runs."


def test_a_password_is_asked_for(write):
    with pytest.raises(DocumentError, match=r"it needs a password\. Open it with the password"):
        read(write(pdf("Secret", password="x")))


def test_an_unknown_protection_is_no_damage():
    data = file_of(["<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[]/Count 0>>",
                    "<</Filter/Adobe.PubSec/V 4/R 4/O()/U()/P -4>>"])  # fmt: skip
    data = data.replace(b"/Root 1 0 R", b"/Root 1 0 R/Encrypt 3 0 R/ID[(a)(a)]")
    with pytest.raises(DocumentError, match="encrypted for certain people"):
        parse(data)


# Forms and comments


def form(*fields: str, kind: str = "/Tx", texts: str = "") -> bytes:
    """Return a page with fields, whose dictionaries have these entries."""
    widgets = [
        f"<</Type/Annot/Subtype/Widget/FT{kind}/Rect[50 {600 - 30 * i} 200 {620 - 30 * i}]{more}>>"
        for i, more in enumerate(fields)
    ]
    notes = [f"<</Type/Annot/Rect[9 9 20 20]{entries}>>" for entries in texts.split("|") if entries]
    numbers = [f"{6 + i} 0 R" for i in range(len(widgets) + len(notes))]
    stream = "BT /F1 12 Tf 50 700 Td (Form) Tj ET"
    return file_of(
        [
            f"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[{' '.join(numbers[: len(widgets)])}]"
            ">>>>",
            "<</Type/Pages/Kids[5 0 R]/Count 1>>",
            "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
            f"<</Length {len(stream)}>>\nstream\n{stream}\nendstream",
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R"
            f"/Resources<</Font<</F1 3 0 R>>>>/Annots[{' '.join(numbers)}]>>",
            *widgets,
            *notes,
        ]
    )


def test_the_values_of_form_fields_are_text():
    data = form("/T(name)/V(Ada Lovelace)", "/T(town)/TU(Place of birth)/V(London)", "/T(empty)")
    assert parse(data).text == "Form\n\nname: Ada Lovelace\nPlace of birth: London"


def test_a_field_on_several_places_is_text_once():
    assert parse(form("/T(name)/V(Ada)", "/T(name)/V(Ada)")).text.count("Ada") == 1


def test_a_choice_is_text_and_a_password_is_not():
    assert "colour: red" in parse(form("/T(colour)/V(red)/Opt[(red)(blue)]", kind="/Ch")).text
    assert parse(form("/T(key)/V(hidden)/Ff 8192")).text == "Form"


def test_comments_are_text():
    texts = "/Subtype/Text/Contents(Check this.)|/Subtype/Popup/Contents(Check this.)"
    assert parse(form(texts=texts + "|/Subtype/FreeText/Contents(A note)")).text == (
        "Form\n\nCheck this.\nA note"
    )


def test_an_xfa_form_is_read_in_place_of_its_please_wait_page():
    parts = {
        "template": "<template><subform><draw><value><text>Name of the plant</text></value></draw>"
        "</subform></template>",
        "datasets": "<xfa:datasets xmlns:xfa='http://www.xfa.org/schema/xfa-data/1.0/'><xfa:data>"
        "<form1><plant>Fern</plant><empty/></form1></xfa:data></xfa:datasets>",
    }
    names = " ".join(f"({name}) {6 + i} 0 R" for i, name in enumerate(parts))
    stream = "BT /F1 12 Tf 50 700 Td (Please wait...) Tj ET"
    data = file_of(
        [
            f"<</Type/Catalog/Pages 2 0 R/NeedsRendering true/AcroForm<</Fields[]/XFA[{names}]>>>>",
            "<</Type/Pages/Kids[5 0 R]/Count 1>>",
            "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
            f"<</Length {len(stream)}>>\nstream\n{stream}\nendstream",
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R"
            "/Resources<</Font<</F1 3 0 R>>>>>>",
            *(f"<</Length {len(x)}>>\nstream\n{x}\nendstream" for x in parts.values()),
        ]
    )
    assert parse(data).text == "Name of the plant\nplant: Fern"


# Letters


def test_letters_without_a_meaning_are_no_text(write):
    private = [chr(0xE000 + i) for i in range(20)]
    with pytest.raises(DocumentError, match=r"letters of its page have no meaning.*--ocr eng"):
        read(write(drawn(Shown(private))))


def test_letters_named_by_numbers_are_no_text():
    names = " ".join(f"/g{i}" for i in range(33, 90))
    font = (
        "<</Type/Font/Subtype/Type3/FontBBox[0 0 9 9]/FontMatrix[.1 0 0 .1 0 0]/CharProcs<<>>"
        f"/Encoding<</Type/Encoding/Differences[33 {names}]>>/FirstChar 33/LastChar 90"
        f"/Widths[{'9 ' * 58}]>>"
    )
    stream = "BT /F1 12 Tf 50 700 Td (:;<=ABCDEFGHIJ) Tj ET"
    with pytest.raises(DocumentError, match="no meaning"):
        parse(pdf_of(stream, font=font))


def test_a_page_without_a_meaning_is_named_and_the_others_are_read():
    writer = pypdf.PdfWriter()
    writer.append(io.BytesIO(pdf("One.")))
    writer.append(io.BytesIO(drawn(Shown([chr(0xE000 + i) for i in range(20)]))))
    data = io.BytesIO()
    writer.write(data)
    content = parse(data.getvalue())
    assert content.text == "One."
    assert re.match(r"The letters of 1 of 2 pages \(2\) have no meaning", content.notes[0])


def test_a_bullet_of_a_symbol_font_is_a_bullet():
    assert parse(drawn(Shown(["\uf0b7", " ", *"Ferns like shade"]))).text == "• Ferns like shade"


def test_ligatures_and_joined_forms_are_letters():
    assert parse(drawn(Shown(["ﬁ", *"eld"]))).text == "field"
    assert parse(drawn(Shown(["ﺔ", "ﺓ", "ﻮ"]))).text == "وةة"


def test_spelled_out_text_is_there_once():
    """PDFium returns it again with each of its letters."""
    rows = [Shown(["c"], 50), Shown(["x", "y"], 56, spelled="ลื่"), Shown(["z"], 68)]
    assert parse(drawn(*rows)).text == "cลื่z"
    halves = [Shown(["\0"], 50 + 6 * i, spelled=letter) for i, letter in enumerate("土壤")]
    assert parse(drawn(*halves)).text == "土壤"


def test_letters_of_a_single_line_are_no_lines():
    """PDFium takes a page with one line, whose letters are placed one by one, for vertical text."""
    rows = [Shown([c], 50 + 7 * i) for i, c in enumerate("one line of text") if c != " "]
    assert parse(drawn(*rows)).text == "one line of text"
    column = [Shown([letter], 50, 700 - 14 * i) for i, letter in enumerate("土壤干燥时给植物")]
    assert parse(drawn(*column)).text.replace("\n", "") == "土壤干燥时给植物"


# Right to left


def test_a_line_that_is_drawn_from_left_to_right_is_read_from_right_to_left():
    assert parse(drawn(Shown(list("םולש")))).text == "שלום"
    rest = parse(drawn(Shown(list("ילכב ןייע")), Shown(list(".v2.1"), 74, 686)))
    assert rest.text == "עיין בכלי\nv2.1."  # the second line is a part of the sentence


def test_letters_that_are_drawn_from_right_to_left_stay_in_order():
    rows = [Shown([letter], 200 - 6 * i) for i, letter in enumerate("שלום עולם")]
    assert parse(drawn(*rows)).text == "שלום עולם"


# Broken words


def test_words_broken_at_a_line_end_are_joined(write):
    assert read(write(pdf("soil infor-\nmation"))).text == "soil information"


# Tables


def ruled(texts: dict[tuple[int, int], str], *lines: tuple[int, int, int, int]) -> str:
    """Return the text of a page with lines, and texts at places."""
    shown = "".join(f"1 0 0 1 {x} {y} Tm ({text}) Tj " for (x, y), text in texts.items())
    drawn = "".join(f"{a} {b} m {c} {d} l S " for a, b, c, d in lines)
    return parse(pdf_of(f"{drawn}BT /F1 12 Tf {shown}ET")).text


ROWS = [(50, y, 350, y) for y in (700, 660, 620)]
COLUMNS = [(x, 620, x, 700) for x in (50, 150, 250, 350)]


def test_the_rows_of_a_ruled_table_are_lines_with_empty_cells():
    texts = {(60, 750): "Above.", (60, 680): "Plant", (160, 680): "Water", (260, 680): "Light",
             (60, 640): "Fern", (260, 640): "shade", (60, 600): "Below."}  # fmt: skip
    assert ruled(texts, *ROWS, *COLUMNS) == (
        "Above.\n| Plant | Water | Light |\n| Fern |  | shade |\nBelow."
    )


def test_a_cell_of_two_lines_is_one_cell():
    texts = {(60, 685): "a", (160, 685): "b first", (260, 685): "c", (160, 668): "b second",
             (60, 640): "d", (160, 640): "e", (260, 640): "f"}  # fmt: skip
    assert ruled(texts, *ROWS, *COLUMNS) == "| a | b first b second | c |\n| d | e | f |"


def test_a_cell_that_covers_others_has_its_text_once():
    texts = {
        (60, 680): "a wide heading of the table",
        (60, 640): "x",
        (160, 640): "y",
        (260, 640): "z",
    }
    columns = [(50, 620, 50, 700), (350, 620, 350, 700), (150, 620, 150, 660), (250, 620, 250, 660)]
    assert ruled(texts, *ROWS, *columns) == "| a wide heading of the table |  |  |\n| x | y | z |"
    tall = [(50, 700, 350, 700), (50, 620, 350, 620), (150, 660, 350, 660)]
    texts = {(60, 640): "tall", (160, 680): "a", (260, 680): "b", (160, 640): "c", (260, 640): "d"}
    assert ruled(texts, *tall, *COLUMNS) == "| tall | a | b |\n|  | c | d |"


def test_frames_underlines_and_charts_are_no_tables():
    text = {(60, 680): "In a frame"}
    frame = [*ROWS[::2], COLUMNS[0], COLUMNS[-1]]
    assert ruled(text, *frame) == "In a frame"
    assert ruled(text, (50, 675, 150, 675), (50, 640, 150, 640)) == "In a frame"
    chart = [(50, y, 350, y) for y in range(500, 701, 20)]
    chart += [(x, 500, x, 700) for x in range(50, 351, 30)]
    assert ruled(text, *chart) == "In a frame"


def test_a_drawing_of_thousands_of_lines_takes_little_time():
    lines = "".join(f"{x} {y} m {x + 9} {y + 9} l S " for x in range(90) for y in range(90))
    lines += "".join(f"0 {y} m 600 {y} l S " for y in range(0, 790, 5))
    start = time.process_time()
    assert parse(pdf_of(f"{lines}BT /F1 12 Tf 50 700 Td (Text) Tj ET")).text == "Text"
    assert time.process_time() - start < 3  # 0.2 s when nothing else runs


# Headings


def test_bookmarks_are_headings_where_they_are_found(write):
    data = pdf("Intro\nText.", "Soil\nMore.", bookmarks=(("INTRO", 0), ("Gone", 0), ("Soil", 1)))
    document = read(write(data))
    assert lines_at(document) == ["Intro", "Soil"]


@pytest.mark.parametrize(
    ("title", "line"),
    [
        ("Soil", "3.1 Soil"),
        ("3.1 Soil", "Soil"),
        ("Soil", "IV. Soil"),
        ("Soil", "Chapter 3: Soil"),
        ("Chapter 3 - Soil", "Soil"),
        ("Soil and air", "3 Soil\nand air"),
        ("A fern", "A fern"),
    ],
)
def test_a_heading_may_have_a_number_on_the_page_or_in_the_bookmark(title, line):
    content = parse(pdf(f"Text.\n{line}\nMore.", bookmarks=((title, 0),)))
    assert content.text[content.headings[0].start :].startswith(line)
    assert content.headings[0].title == title


def test_a_line_that_is_the_title_comes_before_one_that_starts_with_it():
    content = parse(pdf("Soil is dry.\nSoils.\nSoil\nMore.", bookmarks=(("Soil", 0),)))
    assert content.text[content.headings[0].start :] == "Soil\nMore."


def test_a_heading_ends_at_the_page_where_the_next_begins():
    marks = (("One", 0), ("Not there", 1), ("Three", 2))
    content = parse(pdf("One\nText.", "Other text.", "Three", bookmarks=marks))
    assert content.headings[1] == Heading(1, "Not there", content.pages[1])
    assert [h.title for h in content.headings] == ["One", "Not there", "Three"]


def test_titles_of_damaged_letters_do_not_refuse_a_file():
    stream = "BT /F1 12 Tf 50 700 Td (Moss) Tj ET"
    data = file_of([
        "<</Type/Catalog/Pages 2 0 R/Outlines 6 0 R>>",
        "<</Type/Pages/Kids[5 0 R]/Count 1>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        f"<</Length {len(stream)}>>\nstream\n{stream}\nendstream",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R"
        "/Resources<</Font<</F1 3 0 R>>>>>>",
        "<</Type/Outlines/First 7 0 R/Last 7 0 R/Count 1>>",
        "<</Title<FEFF0041D800>/Parent 6 0 R/Dest[5 0 R/Fit]>>",
        "<</Title<FEFF0042D800>>>",
    ])  # fmt: skip
    content = parse(data.replace(b"/Root 1 0 R", b"/Root 1 0 R/Info 8 0 R"))
    assert (content.text, content.title) == ("Moss", "B\ufffd")
    assert content.headings == (Heading(1, "A\ufffd", 0),)


def test_a_title_whose_words_and_signs_are_turned_is_that_of_its_page():
    text = 'פתיחה\nעברית: גינה "ירוקה"\nטקסט.'
    (found,) = headings([Bookmark(2, '"ירוקה" גינה :עברית', 0)], text, (0,))
    assert found == Heading(2, 'עברית: גינה "ירוקה"', 6)
    assert next(headings([Bookmark(1, "؟", 0)], text, (0,))) == Heading(1, "؟", 0)


def test_levels_are_those_of_the_bookmarks():
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf("One\nText.\nTwo\nText.")))
    above = writer.add_outline_item(title="One", page_number=0)
    writer.add_outline_item(title="Two", page_number=0, parent=above)
    data = io.BytesIO()
    writer.write(data)
    assert [(h.level, h.title) for h in parse(data.getvalue()).headings] == [(1, "One"), (2, "Two")]


# Printed files: thirteen languages from two programs


class _Blocks(HTMLParser):
    """The text of each paragraph, heading and cell of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.blocks: list[str] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._inside = tag in ("h1", "h2", "p", "th", "td")
        if self._inside:
            self.blocks.append("")

    def handle_data(self, data):
        if self._inside and data.strip():
            self.blocks[-1] += data


def words(text: str) -> list[str]:
    """Return the words of a text; each Chinese or Japanese letter is one."""
    return re.findall(r"[\u3000-\u9fff\uff00-\uffef]|[^\s\u3000-\u9fff\uff00-\uffef]+", text)


@pytest.mark.parametrize("path", sorted(PRINTED.glob("*-*o*.pdf")), ids=lambda path: path.stem)
def test_printed_text_is_complete_and_in_order(path):
    html = (PRINTED / f"{path.stem.partition('-')[0]}.html").read_text()
    blocks = [words(block) for block in _Blocks(html).blocks if block.strip()]
    content = parse(path.read_bytes())
    found = words(content.text.replace("|", " "))
    at = 0
    for block in blocks:
        places = (i for i in range(at, len(found)) if found[i : i + len(block)] == block)
        at = next(places, -1)
        assert at >= 0, (" ".join(block), content.text)
        at += len(block)
    assert at == len(found)


def test_a_printed_file_has_its_headings():
    content = parse((PRINTED / "scripts-chromium.pdf").read_bytes())
    html = (PRINTED / "scripts.html").read_text()
    titles = re.findall(r"<h\d[^>]*>([^<]*)</h", html)
    assert [h.title for h in content.headings] == titles
    assert [content.text[h.start :].split("\n")[0] for h in content.headings] == titles
    assert all(a.start < b.start for a, b in pairwise(content.headings))


def test_many_pages_are_read_quickly():
    data = (PRINTED / "scripts-libreoffice.pdf").read_bytes()
    writer = pypdf.PdfWriter()
    for _ in range(20):
        writer.append(io.BytesIO(data))
    many = io.BytesIO()
    writer.write(many)
    start = time.process_time()
    content = parse(many.getvalue())
    assert len(content.pages) == 40
    assert time.process_time() - start < 4  # 0.4 s when nothing else runs


def test_a_reader_prints_nothing(write, capfd):
    data = pdf("One.", "Two.").replace(b"/MediaBox", b"/MediaBoy").replace(b"/Helvetica", b"/(")
    read(write(data))
    parse(data)
    assert capfd.readouterr() == ("", "")
