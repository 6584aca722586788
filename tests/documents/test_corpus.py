"""Every format in eight languages: the text, its order, the headings, the pages, files in files."""

import io
import re
from pathlib import Path

import pypdf
import pytest
from pypdf.generic import DictionaryObject, NameObject, StreamObject

from m3rag.documents.formats.content import Budget
from m3rag.documents.formats.registry import format_for
from m3rag.documents.parsing import parse
from tests.documents.corpus.expected import EXPECTED, PRINTED
from tests.documents.corpus.make import FILES, LAYOUT
from tests.documents.corpus.texts import SOURCES

CASES = [pytest.param(source, name, id=f"{source.language}-{name}")
         for source in SOURCES for name in (*EXPECTED, *PRINTED)]  # fmt: skip
# Lines of these are broken between letters, and programs draw a gap before Latin letters.
UNSPACED = ("zh", "ja", "th")


def content_of(name, data):
    return parse(data, format_for(Path(name).suffix), Budget())


def matcher(block: str, language: str) -> str:
    """Return a pattern of a block whose lines may be broken.

    Vowel marks on one letter of Arabic may be in any order, as for Unicode.
    """
    words = (re.findall("[\u064b-\u0652]+|.", word) for word in block.split())
    inside = r"[ \n]?" if language in UNSPACED else ""
    return r"\s+".join(inside.join(map(letter_pattern, word)) for word in words)


def letter_pattern(letters: str) -> str:
    return re.escape(letters) if len(letters) == 1 else f"[{letters}]{{{len(letters)}}}"


def places_in(text: str, blocks, language: str) -> list[int]:
    """Return where each block is in a printed text, after a check that there is nothing else."""
    places, at = [], 0
    for block in blocks:
        found = re.compile(rf"\s*({matcher(block, language)})").match(text, at)
        assert found, (block, text[at : at + len(block) + 20])
        places.append(found.start(1))
        at = found.end()
    assert not text[at:].strip()
    return places


@pytest.mark.parametrize(("source", "name"), CASES)
def test_a_file_is_read_as_a_whole(source, name):
    content = content_of(name, (FILES / source.language / name).read_bytes())
    expected = {**EXPECTED, **PRINTED}[name](source)
    if name in PRINTED:
        starts = places_in(content.text, expected.blocks, source.language)
    else:
        assert content.text == "\n\n".join(expected.blocks)
        starts = [sum(len(b) + 2 for b in expected.blocks[:i]) for i in range(len(expected.blocks))]
    assert content.title == expected.title
    assert content.notes == ()
    assert content.pages == tuple(starts[number] for number in expected.pages)
    assert [h.level for h in content.headings] == [level for level, _ in expected.headings]
    for heading, (_, number) in zip(content.headings, expected.headings, strict=True):
        block = expected.blocks[number]
        assert starts[number] <= heading.start <= starts[number] + len(block)
        assert "".join(heading.title.split()) in "".join(block.split())
    parts = {part.name: content_of(part.name, part.data).text for part in content.parts}
    assert parts == expected.parts


@pytest.mark.parametrize("program", ["chromium", "writer"])
def test_odd_layouts_are_read_as_they_look(program):
    text = content_of("a.pdf", (LAYOUT / f"page-{program}.pdf").read_bytes()).text
    assert text.replace("縦書きの日本語で\n", "縦書きの日本語で").split("\n") == [
        "Watering ferns",
        "Spaced letters here.",
        "縦書きの日本語です。水をやる。",
        "E = mc2 and H2O, see note12.",
        "Greek αβγ, Cyrillic Насос, arrows → and ticks ✓ in a line.",
        "البريد: info@example.org والموقع https://example.org/ar?x=1 مفتوحان.",
        "تحب السراخس الظل1 والليالي الباردة.",
        "تعمل المضخة ثلاثين ثانية.",
        "ปีละครั้ง การเตรียม",
    ]


def turned(data: bytes, degrees: int) -> bytes:
    """Return a PDF whose pages were laid out sideways or upside down, and are shown upright."""
    pdf = pypdf.PdfWriter(clone_from=io.BytesIO(data))
    across, up = {90: (700, 0), 180: (700, 700), 270: (0, 700)}[degrees]
    for page in pdf.pages:
        page.add_transformation(pypdf.Transformation().rotate(degrees).translate(across, up))
        page.mediabox.upper_right = (700, 700)
        page.rotate(degrees)
    return saved(pdf)


def within(data: bytes) -> bytes:
    """Return a PDF each of whose pages is a form on another page."""
    pdf = pypdf.PdfWriter()
    for page in pypdf.PdfReader(io.BytesIO(data)).pages:
        sheet = pdf.add_blank_page(page.mediabox.width, page.mediabox.height)
        form = StreamObject()
        form.set_data(page.get_contents().get_data())
        form.update(
            {NameObject("/Type"): NameObject("/XObject"), NameObject("/BBox"): page.mediabox,
             NameObject("/Subtype"): NameObject("/Form"),
             NameObject("/Resources"): page["/Resources"].clone(pdf)}
        )  # fmt: skip
        forms = DictionaryObject({NameObject("/Page"): pdf._add_object(form)})
        sheet[NameObject("/Resources")] = DictionaryObject({NameObject("/XObject"): forms})
        shown = StreamObject()
        shown.set_data(b".5 0 0 .5 9 9 cm /Page Do")
        sheet[NameObject("/Contents")] = pdf._add_object(shown)
    return saved(pdf)


def saved(pdf: pypdf.PdfWriter) -> bytes:
    data = io.BytesIO()
    pdf.write(data)
    return data.getvalue()


@pytest.mark.parametrize("language", ["de", "hi", "ar"])
def test_pages_that_are_turned_or_on_other_pages_are_read_as_they_look(language):
    data = (FILES / language / "page-chromium.pdf").read_bytes()
    text = content_of("a.pdf", data).text
    assert content_of("a.pdf", within(data)).text == text
    for degrees in (180,) if language == "ar" else (90, 180, 270):
        assert content_of("a.pdf", turned(data, degrees)).text == text


def test_the_corpus_has_every_format():
    folders = {folder.name: {path.name for path in folder.iterdir()} for folder in FILES.iterdir()}
    assert set(folders) == {source.language for source in SOURCES}
    assert all(names == {*EXPECTED, *PRINTED} for names in folders.values())
