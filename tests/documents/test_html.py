import pytest

from m3rag.documents.encodings import codec_of
from m3rag.documents.formats.content import Budget
from m3rag.documents.formats.html import parse
from m3rag.documents.formats.registry import by_suffix
from m3rag.documents.parsing import parse as parse_file


def text_of(page: str) -> str:
    return parse(page).text


# Encodings


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("gb2312", "gb18030"), ("GBK", "gb18030"), ("shift_jis", "cp932"), ("x-sjis", "cp932"),
        ("Shift-JIS", "cp932"), ("euc-kr", "cp949"), ("ks_c_5601-1987", "cp949"),
        ("big5", "big5hkscs"), ("iso-8859-9", "cp1254"), ("latin5", "cp1254"),
        ("tis-620", "cp874"), ("iso-8859-11", "cp874"), ("iso-8859-1", "cp1252"),
        (" Latin1 ", "cp1252"), ("us-ascii", "cp1252"), ("x-cp1251", "cp1251"),
        ("windows-1256", "cp1256"), ("koi8-r", "koi8-r"), ("iso-8859-8-i", "iso8859-8"),
        ("utf-8", None), ("utf-16", None), ("unicode_escape", None), ("hz", "hz"),
    ],
)  # fmt: skip
def test_labels_mean_what_they_mean_to_browsers(label, codec):
    assert codec_of(label) == codec


@pytest.mark.parametrize(
    ("label", "codec", "text"),
    [
        ("gb2312", "gb18030", "镕基"),  # the first is in GBK only
        ("x-sjis", "cp932", "①髙"),
        ("euc-kr", "cp949", "똠방"),
        ("big5", "big5hkscs", "嘅噉"),
        ("iso-8859-9", "cp1254", "“ığ”"),
        ("tis-620", "cp874", "…ดิน"),
    ],
)
def test_pages_have_the_characters_of_the_larger_encoding(label, codec, text):
    data = f'<meta charset="{label}"><p>{text}'.encode(codec)
    assert parse_file(data, by_suffix()[".html"], Budget()).text == text


# Characters


def test_invisible_characters_are_left_out_and_joiners_stay():
    assert text_of("<p>Be&shy;wäs&#x200b;se&#x2060;rung\u200e&rlm;") == "Bewässerung"
    assert text_of("<p>می&zwnj;شود 👩&zwj;🌾") == "می\u200cشود 👩\u200d🌾"
    assert text_of("<pre>a&shy;b</pre>") == "ab"
    assert parse("<title>a&shy;b</title>x").title == "ab"


# Formulas


@pytest.mark.parametrize(
    ("math", "text"),
    [
        ("<mi>E</mi><mo>=</mo><mi>m</mi><msup><mi>c</mi><mn>2</mn></msup>", "E=mc^2"),
        ("<mfrac><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mi>c</mi></mfrac>", "(a+b)/c"),
        ("<msqrt><mi>x</mi></msqrt><mroot><mi>y</mi><mn>3</mn></mroot>", "√(x)3√(y)"),
        ("<munderover><mo>∑</mo><mi>i</mi><mi>n</mi></munderover><msub><mi>x</mi><mi>i</mi></msub>",
         "∑_i^nx_i"),
        ("<semantics><mi>x</mi><annotation encoding='application/x-tex'>x</annotation></semantics>",
         "x"),
        ("<mi>f</mi><mo>&#x2061;</mo><mo>(</mo><mi>x</mi><mo>)</mo>", "f(x)"),
        ("<mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>2</mn></mtd></mtr></mtable>", "1 2"),
    ],
)  # fmt: skip
def test_a_formula_stays_in_its_line(math, text):
    assert text_of(f"<p>So <math>{math}</math> here.") == f"So {text} here."
    assert text_of(f"<table><tr><th>a<th><math>{math}</math></table>") == f"| a | {text} |"


# Headings


@pytest.mark.parametrize(
    "heading",
    [
        "Pump<span class='mw-editsection'>[<a href='/edit'>edit</a> | <a>source</a>]</span>",
        "Pump<a class='headerlink' href='#pump'>¶</a>",
        "<a class='anchor' href='#pump'>#</a> Pump",
        "Pump <a href='#pump'>🔗</a>",
        "<a href='#pump'>Pump</a>",
        "<span>Pump</span>",
    ],
)
def test_a_heading_is_its_title(heading):
    content = parse(f"<h2>{heading}</h2><p>Text.")
    assert content.headings[0].title == "Pump"
    assert content.text == "Pump\n\nText."


def test_a_line_break_in_a_heading_is_a_space():
    assert parse("<h1>The<br>pump<br/>runs</h1>").headings[0].title == "The pump runs"


def test_a_link_with_words_stays_in_a_heading():
    assert parse("<h1>Use C <a href='#c'>[sharp]</a> 1</h1>").text.startswith("Use C")
    assert parse("<h1><a href='#faq'>FAQ #1</a></h1>").text == "FAQ #1"


# Tables


def test_a_table_that_arranges_the_page_is_its_blocks():
    page = "<table><tr><td><h1>Pump</h1><p>It runs.</p></td><td><p>One<p>Two</td></tr></table>"
    content = parse(page)
    assert content.text == "Pump\n\nIt runs.\n\nOne\n\nTwo"
    assert content.headings[0].title == "Pump"
    assert text_of("<table role=presentation><tr><td>a<td>b</table>") == "a\n\nb"
    assert text_of("<table><tr><td>a<tr><td>b</table>") == "a\n\nb"


def test_a_table_of_data_has_its_cells_in_columns():
    page = """<table><tr><th>Plant<th>Water<th>Light<tr><td>Fern<td><td>shade
    <tr><td colspan=2>both<td>sun<tr><td rowspan=2>Moss<td>a<td>b<tr><td>c<td>d</table>"""
    assert text_of(page) == (
        "| Plant | Water | Light |\n| Fern |  | shade |\n| both |  | sun |\n| Moss | a | b |\n"
        "|  | c | d |"
    )


def test_a_cell_cannot_cover_millions():
    page = "<table><tr><td colspan=99999999>a<td rowspan=-1>b<tr><td>c<td>d</table>"
    assert len(text_of(page)) < 500


def test_a_list_is_numbered_as_it_says():
    assert text_of("<ol start=3><li>c<li>d</ol>") == "3. c\n4. d"
    assert text_of("<ol type=a><li>x<li value=4>y<li type=I>z<li>w</ol>") == (
        "a. x\nd. y\nV. z\nf. w"
    )


def test_a_list_that_is_in_no_item_takes_no_number():
    assert text_of("<ol><li>x</li><ul><li>y</li></ul><li>z</li></ol>") == "1. x\n  - y\n2. z"
