import pytest

from m3rag.documents import read, split
from tests.documents.conftest import assert_whole
from tests.documents.formats.conftest import SCRIPTS, assert_survives, refuses, titles

HEAD = (
    r"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0\fcharset0 A;}{\f1\fcharset128 B;}"
    r"{\f2\fcharset177 C;}{\f3\fcharset178 D;}{\f4\fcharset222 E;}}"
    r"{\stylesheet{\s0 Normal;}{\s1\outlinelevel0 heading 1;}{\s2\b Heading 2;}"
    r"{\s9 Title;}}{\info{\title The g\'e4rden}}"
)


def rtf(*paragraphs) -> bytes:
    return f"{HEAD}{''.join(paragraphs)}}}".encode("ascii")


def escaped(text) -> str:
    """Return text as Word writes it: code units with a substitute for old programs."""
    units = text.encode("utf-16-le")
    numbers = (
        int.from_bytes(units[at : at + 2], "little", signed=True) for at in range(0, len(units), 2)
    )
    return "".join(chr(n) if 31 < n < 128 else f"\\u{n}?" for n in numbers)


def paragraph(text, words="") -> str:
    return f"\\pard\\plain {words}{{{escaped(text)}}}\\par\n"


@pytest.fixture(scope="module")
def garden() -> bytes:
    return rtf(
        paragraph("Garden", r"\s9 "),
        *(paragraph(s, r"\s1 ") + paragraph(f"{text} 🌱") for s, text in SCRIPTS.items()),
    )


def test_headings_and_paragraphs_in_all_scripts(write, garden, tokenizer):
    document = read(write("a.rtf", garden))
    parts = (f"{script}\n\n{text} 🌱" for script, text in SCRIPTS.items())
    assert document.text == "Garden\n\n" + "\n\n".join(parts)
    assert titles(document) == [(1, "Garden"), *((2, script) for script in SCRIPTS)]
    assert document.metadata["title"] == "The gärden"
    passages = split(document, tokenizer, max_tokens=40)
    assert_whole(document, passages, tokenizer, 40)


@pytest.mark.parametrize(
    ("font", "codec", "text"),
    [
        (0, "cp1252", "früh"),
        (1, "cp932", "水"),
        (2, "cp1255", "יש"),
        (3, "cp1256", "ماء"),
        (4, "cp874", "น้ำ"),
    ],
)
def test_each_font_has_its_code_page(write, font, codec, text):
    body = "".join(f"\\'{byte:02x}" for byte in text.encode(codec))
    assert read(write("a.rtf", rtf(f"{{\\f{font} {body}}}\\par"))).text == text


def test_lists_tables_notes_and_boxes_are_read(write):
    cells = r"\trowd\cellx1\cellx2\pard\intbl Plant\cell\pard\intbl Litres\cell\row"
    more = r"\trowd\pard\intbl Fern\par\pard\intbl or moss\cell\pard\intbl 2|3\cell\row"
    document = read(
        write(
            "a.rtf",
            rtf(
                r"\pard Water it{\super 1{\footnote\pard In {\i summer}.}} twice.\par ",
                r"\pard{\listtext\pard \u8226\'95\tab}\ilvl0\ls1 one\par ",
                r"\pard{\listtext\pard 2.\tab}\ilvl1\ls1 two\par ",
                f"{cells}{more}",
                r"\pard After.{\shp{\*\shpinst{\sp}{\shptxt \pard Boxed\par}}}\par",
                r"{\header Page head}",
            ),
        )
    )
    assert document.text == (
        "Water it1 twice.\n\n- one\n  2. two\n\n| Plant | Litres |\n| Fern or moss | 2|3 |\n\n"
        "After.\n\nIn summer.\n\nBoxed"
    )


def test_a_wide_cell_covers_the_columns_below_the_others(write):
    def row(edges: str, *cells: str) -> str:
        define = r"\trowd" + "".join(rf"\cellx{edge}" for edge in edges.split())
        shown = "".join(rf"\pard\intbl {cell}\cell" for cell in cells)
        return rf"{define}{shown}{define}\row"  # Word defines a row twice

    rows = (
        row("-5 1000 2000 3000", "A", "B", "C", "D"),
        row("-5 2010 3000", "1", "2", "3"),
        row("700 3000", "x", "y"),
    )
    text = read(write("a.rtf", rf"{{\rtf1\ansi {''.join(rows)}\pard End\par}}".encode())).text
    assert text == "| A | B | C | D |\n| 1 | 2 |  | 3 |\n| x | y |\n\nEnd"


def test_notes_have_their_numbers_and_bullets_of_symbol_fonts_are_bullets(write):
    note = r"{{\super\chftn{{\*\footnote\chftn\pard\plain {}}}}}"
    first, second = note.format(r"{\tab In summer.}"), note.format("{Daily.}")
    title = r"{\info{\upr{\title ??}{\*\ud{\title \u27700?\u27700?}}}}"
    document = read(
        write(
            "a.rtf",
            rtf(
                title,
                f"Water{first} it{second}.\\par",
                r"\pard{\listtext\pard\plain \u61589\'3f\tab}\ilvl0 one\par",
            ),
        )
    )
    assert document.text == "Water[1] it[2].\n\n- one\n\n[1] In summer.\n\n[2] Daily."
    assert document.metadata["title"] == "水水"


def test_direct_outline_levels_are_headings(write):
    text = rtf(r"\pard\outlinelevel1 Soil\par\pard C:\\s1 \{x\} 5\'b0\par")
    document = read(write("a.rtf", text))
    assert document.text == "Soil\n\nC:\\s1 {x} 5°"
    assert titles(document) == [(2, "Soil")]


def test_damaged_rich_text_is_read_or_refused(write, garden):
    assert_survives(garden, ".rtf", least=1)
    refuses(write("a.rtf", "{\\rtf1}"), "has no text")
    refuses(write("b.rtf", b"%PDF-1.4"), "is a PDF file")
    refuses(write("c.rtf", "just text"), "no rich text")
    refuses(write("d.rtf", "{\\rtf1{\\fonttbl" + "{\\f0" * 100_000), "100,001 fonts")
