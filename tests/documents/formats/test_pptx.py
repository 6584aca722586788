import pptx
import pytest
from lxml import etree
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.opc.package import Part
from pptx.opc.packuri import PackURI

from m3rag.documents import read, split
from m3rag.limits import Limits
from tests.documents.conftest import assert_whole, saved
from tests.documents.formats.conftest import SCRIPTS, assert_survives, refuses, titles

TITLE, BODY, BLANK = 0, 1, 6
PRESENTATION = "http://schemas.openxmlformats.org/presentationml/2006/main"


@pytest.fixture(scope="module")
def deck() -> bytes:
    """A title slide, then one for each script, with a note."""
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[TITLE])
    slide.shapes.title.text = "Garden"
    for script, sentence in SCRIPTS.items():
        slide = deck.slides.add_slide(deck.slide_layouts[BODY])
        slide.shapes.title.text = script
        frame = slide.placeholders[1].text_frame
        frame.text = sentence
        second = frame.add_paragraph()
        second.text, second.level = "mehr", 1
        slide.notes_slide.notes_text_frame.text = f"{sentence} ({script})"
    return saved(deck)


def test_slides_are_pages_with_titles_lists_and_notes(write, deck, tokenizer):
    document = read(write("a.pptx", deck))
    assert titles(document) == [(1, "Garden"), *((2, script) for script in SCRIPTS)]
    assert document.text.startswith(
        f"Garden\n\nLatin\n\n- {SCRIPTS['Latin']}\n  - mehr\n\n{SCRIPTS['Latin']} (Latin)\n\nArabic"
    )
    assert document.metadata["title"] == "Garden"
    passages = split(document, tokenizer, max_tokens=40)
    assert_whole(document, passages, tokenizer, 40)
    pages = [passage.metadata["page"] for passage in passages]
    assert sorted(set(pages)) == [1, 3, 4, 5, 6, 7]  # slide 2 goes on with 1
    hebrew = next(p for p in passages if SCRIPTS["Hebrew"] in p.text)
    assert (hebrew.metadata["page"], hebrew.headings) == (4, ("Garden", "Hebrew"))


def test_slides_without_text_or_title_keep_the_numbers(write):
    deck = pptx.Presentation()
    for text in (None, "Moss grows here.", None, "Ferns\nlike shade", None):
        slide = deck.slides.add_slide(deck.slide_layouts[BLANK])
        if text:
            slide.shapes.add_textbox(0, 0, 9, 9).text_frame.text = text
    document = read(write("a.pptx", saved(deck)))
    assert document.text == "Moss grows here.\n\nFerns\nlike shade"
    assert document.pages == (0, 0, 18, 18, len(document.text))
    assert titles(document) == [(2, "Moss grows here."), (2, "Ferns")]


def test_tables_charts_and_groups_are_read(write):
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "Water"
    table = slide.shapes.add_table(2, 2, 0, 0, 9, 9).table
    for at, text in enumerate(["Plant", "Litres", "Fern", "1\nor 2"]):
        table.cell(at // 2, at % 2).text = text
    numbers = CategoryChartData()
    numbers.categories = ["May", "June"]
    numbers.add_series("North", (1, 2.5))
    numbers.add_series("South", (3, None))
    slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, 0, 9, 9, numbers)
    group = slide.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, 9, 9).text_frame.text = "grouped"
    assert read(write("a.pptx", saved(deck))).text == (
        "Water\n\n| Plant | Litres |\n| Fern | 1 or 2 |\n\n"
        "|  | North | South |\n| May | 1 | 3 |\n| June | 2.5 |  |\n\ngrouped"
    )


DRAWING = "http://schemas.openxmlformats.org/drawingml/2006"
DIAGRAM = f"""<dgm:dataModel xmlns:dgm="{DRAWING}/diagram" xmlns:a="{DRAWING}/main"><dgm:ptLst>
<dgm:pt><dgm:t><a:p><a:r><a:t>Sow</a:t></a:r></a:p></dgm:t></dgm:pt><dgm:pt/>
<dgm:pt><dgm:t><a:p><a:r><a:t>צמח</a:t></a:r></a:p></dgm:t></dgm:pt></dgm:ptLst></dgm:dataModel>"""
FRAME = f"""<p:graphicFrame xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"
xmlns:a="{DRAWING}/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"
xmlns:dgm="{DRAWING}/diagram"><a:graphic><a:graphicData><dgm:relIds r:dm="DM"/></a:graphicData>
</a:graphic></p:graphicFrame>"""
FORMULA = f"""<mc:AlternateContent xmlns:a="{DRAWING}/main"
xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"
xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"
xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"><mc:Choice><p:sp><p:nvSpPr/>
<p:txBody><a:p><a:r><a:t>Area </a:t></a:r><m:oMath><m:r><m:t>a=b</m:t></m:r></m:oMath></a:p>
</p:txBody></p:sp></mc:Choice><mc:Fallback><p:sp><p:nvSpPr/><p:txBody><a:p><a:r><a:t>picture</a:t>
</a:r></a:p></p:txBody></p:sp></mc:Fallback></mc:AlternateContent>"""


def test_diagrams_and_formulas_are_read_and_footers_are_not(write):
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "Year"
    part = Part(PackURI("/ppt/diagrams/data1.xml"), "application/xml", deck.part.package, b"")
    part._blob = DIAGRAM.encode()
    name = slide.part.relate_to(part, f"{DRAWING}/relationships/diagramData")
    for source in (FRAME.replace("DM", name), FORMULA):
        slide.shapes._spTree.append(etree.fromstring(source))
    footer = slide.shapes.add_textbox(0, 0, 9, 9)
    footer.text_frame.text = "Page 1 of 9"
    mark = etree.SubElement(footer._element.nvSpPr.nvPr, f"{{{PRESENTATION}}}ph")
    mark.set("type", "ftr")
    assert read(write("a.pptx", saved(deck))).text == "Year\n\n- Sow\n- צמח\n\nArea a=b"


def test_limits_and_damage(write, deck):
    assert_survives(deck, ".pptx", least=20)
    refuses(write("old.pptx", b"\xd0\xcf\x11\xe0" + bytes(600)), r"encrypted, or an old \.ppt")
    with pytest.raises(Exception, match=r"7 slides, more than the limit of 5"):
        read(write("a.pptx", deck), limits=Limits(pages=5))
