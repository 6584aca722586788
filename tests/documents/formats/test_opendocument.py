import io
import zipfile

import odfdo
import pytest

from m3rag.documents import read, split
from tests.documents.conftest import assert_whole, saved
from tests.documents.formats.conftest import SCRIPTS, assert_survives, refuses, titles


def text(*elements) -> bytes:
    document = odfdo.Document("text")
    document.body.clear()
    for element in elements:
        document.body.append(element)
    return saved(document)


def slides(*slides) -> bytes:
    """Return a presentation; each slide has shapes: a class and their paragraphs."""
    document = odfdo.Document("presentation")
    document.body.clear()
    for number, shapes in enumerate(slides):
        page = odfdo.DrawPage(f"p{number}")
        for kind, lines in shapes:
            place = {"size": ("1cm", "1cm"), "position": ("0cm", "0cm")}
            page.append(odfdo.Frame.text_frame(lines, presentation_class=kind, **place))
        document.body.append(page)
    return saved(document)


@pytest.fixture(scope="module")
def garden() -> bytes:
    parts = [odfdo.Paragraph("Garden", style="Title")]
    for script, sentence in SCRIPTS.items():
        parts += [odfdo.Header(1, script), odfdo.Paragraph(sentence)]
    return text(*parts)


def test_a_text_has_its_title_headings_and_paragraphs(write, garden, tokenizer):
    document = read(write("a.odt", garden))
    numbered = [f"{number}. {script}" for number, script in enumerate(SCRIPTS, start=1)]
    parts = zip(numbered, SCRIPTS.values(), strict=True)
    assert document.text == "\n\n".join(["Garden", *(part for pair in parts for part in pair)])
    assert titles(document) == [(1, "Garden"), *((2, title) for title in numbered)]
    passages = split(document, tokenizer, max_tokens=32)
    assert_whole(document, passages, tokenizer, 32)


def test_lists_tables_notes_and_spaces_are_read(write):
    inner = odfdo.ListItem("three")
    inner.append(odfdo.List(["deep", "er"]))
    items = odfdo.List(["one", "two"])
    items.append_item(inner)
    table = odfdo.Table("T")
    for cells in (["Plant", "Litres"], ["Fern", "2"]):
        row = odfdo.Row()
        row.set_values(cells)
        table.append_row(row)
    noted = odfdo.Paragraph("Water  it\ttwice\na day.")
    noted.insert_note(after="it", note_id="n1", citation="1", body="In summer.")
    document = read(write("a.odt", text(noted, items, odfdo.Paragraph("End."), table)))
    assert document.text == (
        "Water  it[1]\ttwice\na day.\n\n[1] In summer.\n\n"
        "- one\n- two\n- three\n  - deep\n  - er\n\nEnd.\n\n| Plant | Litres |\n| Fern | 2 |"
    )


def test_numbers_of_lists_and_headings_are_counted(write):
    levels = "".join(
        f'<text:list-level-style-{kind} text:level="{level}" style:num-format="{form}" {more}/>'
        for level, (kind, form, more) in enumerate(
            [("number", "1", 'style:num-suffix="."'),
             ("number", "a", 'style:num-suffix=")" text:display-levels="2"'),
             ("number", "I", 'style:num-prefix="(" style:num-suffix=")" text:start-value="4"'),
             ("bullet", "", 'text:bullet-char="o"')],
            start=1,
        )
    )  # fmt: skip
    style = f'<text:list-style style:name="L">{levels}</text:list-style>'

    def items(*inner, more='text:style-name="L"'):
        parts = "".join(f"<text:list-item>{part}</text:list-item>" for part in inner)
        return f"<text:list {more}>{parts}</text:list>"

    def p(words):
        return f"<text:p>{words}</text:p>"

    deep = items(p("four") + items(p("star"), more=""), more="")
    first = items(p("a"), p("b") + items(p("c"), p("d") + deep, more=""))
    again = items(p("e"), more='text:style-name="L" text:continue-numbering="true"')
    only_inner = items(items(p("f"), more=""))
    document = odfdo.Document("text")
    document.body.clear()
    document.insert_style(odfdo.Element.from_tag(style), automatic=True)
    for part in (first, again, p("Between."), items(p("anew")), only_inner):
        document.body.append(odfdo.Element.from_tag(part))
    for level, title, more in ((1, "One", ""), (2, "Deep", ""), (1, "Nine", "9"), (1, "No", "no")):
        heading = odfdo.Header(level, title)
        if more == "no":
            heading.set_attribute("text:is-list-header", "true")
        elif more:
            heading.set_attribute("text:start-value", more)
        document.body.append(heading)
    found = read(write("a.odt", saved(document)))
    assert found.text.split("\n") == [
        "1. a", "2. b", "   2.a) c", "   2.b) d", "        (IV) four", "             - star", "",
        "3. e", "", "Between.", "", "1. anew", "", "1.a) f", "", "1. One", "", "1.1. Deep", "",
        "9. Nine", "", "No",
    ]  # fmt: skip


def test_paragraphs_with_the_style_of_a_heading_are_headings(write):
    data = text(odfdo.Paragraph("Pump", style="Heading_20_2"), odfdo.Paragraph("It runs."))
    assert titles(read(write("a.odt", data))) == [(2, "Pump")]


def test_headers_and_footers_are_there_once(write):
    document = odfdo.Document("text")
    document.body.clear()
    document.body.append(odfdo.Paragraph("Text."))
    for kind, words in (("header", "Manual"), ("footer", "12"), ("footer", "Version 3")):
        part = odfdo.Element.from_tag(f"<style:{kind}><text:p>{words}</text:p></style:{kind}>")
        document.get_style("master-page", "Standard").append(part)
    assert read(write("a.odt", saved(document))).text == "Manual\n\nText.\n\nVersion 3"


def test_frames_follow_their_paragraph_and_changes_are_accepted(write):
    paragraph = odfdo.Paragraph("Outer text.")
    frame: list[odfdo.Element] = [odfdo.Paragraph("In the frame."), odfdo.Paragraph("More.")]
    paragraph.append(odfdo.Frame.text_frame(frame, size=("1cm", "1cm")))
    deleted = odfdo.Element.from_tag(
        "<text:tracked-changes><text:changed-region><text:deletion><text:p>gone</text:p>"
        "</text:deletion></text:changed-region></text:tracked-changes>"
    )
    document = read(write("a.odt", text(deleted, paragraph)))
    assert document.text == "Outer text.\n\nIn the frame.\n\nMore."


def test_a_formula_is_a_line_of_text(write):
    paragraph = odfdo.Paragraph("Energy: ")
    frame = odfdo.Element.from_tag(
        '<draw:frame><draw:object xlink:href="./Object 1"/></draw:frame>'
    )
    paragraph.append(frame)
    data = io.BytesIO(text(paragraph))
    with zipfile.ZipFile(data, "a") as archive:
        formula = "<mi>E</mi><mo>=</mo><mi>m</mi><msup><mi>c</mi><mn>2</mn></msup>"
        math = f'<math xmlns="http://www.w3.org/1998/Math/MathML"><mrow>{formula}</mrow></math>'
        archive.writestr("Object 1/content.xml", math)
    assert read(write("a.odt", data.getvalue())).text == "Energy: E=mc^2"


def test_slides_are_pages_and_their_titles_come_first(write):
    data = slides(
        [("outline", ["Water."]), ("title", ["Garden"])],
        [],
        [("outline", ["Untitled", SCRIPTS["Arabic"]])],
        [("title", ["植物"]), ("outline", [SCRIPTS["CJK"]])],
    )
    document = read(write("a.odp", data))
    assert document.text == (
        f"Garden\n\nWater.\n\nUntitled\n\n{SCRIPTS['Arabic']}\n\n植物\n\n{SCRIPTS['CJK']}"
    )
    assert titles(document) == [(1, "Garden"), (1, "Untitled"), (1, "植物")]
    starts = (0, document.text.index("Untitled"), document.text.index("植物\n"))
    assert document.pages == (0, starts[1], starts[1], starts[2])


def test_damaged_and_encrypted_texts_are_refused(write, garden):
    assert_survives(garden, ".odt", least=15)
    book = odfdo.Document("text")
    manifest = book.get_part("META-INF/manifest.xml")
    manifest.root.append(odfdo.Element.from_tag("<manifest:encryption-data/>"))
    refuses(write("a.odt", saved(book)), "encrypted")
