"""OCR by Tesseract: its languages, scans, images, and what happens without it."""

import io
import re
import shutil
import struct
import zlib
from itertools import pairwise
from pathlib import Path

import pypdf
import pypdfium2
import pytest

from m3rag import M3Index
from m3rag.documents import read, read_all
from m3rag.documents import scan as scan_folder
from m3rag.documents.formats.content import Budget
from m3rag.documents.formats.pdf import parse
from m3rag.documents.ocr import _installed
from m3rag.errors import DocumentError, InputError
from m3rag.index.sync import sync
from m3rag.langchain import M3Loader
from m3rag.llama_index import M3Reader
from tests.documents.formats.conftest import refuses
from tests.documents.formats.test_mail import zipped
from tests.documents.pdf_writer import file_of, pdf

PRINTED = Path(__file__).with_name("printed")


def needs(*languages: str):
    """Return a mark that skips a test where Tesseract or one of its languages is missing."""
    program = shutil.which("tesseract")
    known = _installed(program) if program else ()
    missing = " ".join(language for language in languages if language not in known)
    return pytest.mark.skipif(bool(missing), reason=f"Tesseract has no {missing}")


def scan(source: bytes | Path, number: int = 0, *, stamp: str = "", turn: int = 0) -> bytes:
    """Return a PDF whose only page is an image of a page of another, with a stamp, or turned."""
    scanned = pypdfium2.PdfDocument(pdf(stamp))
    picture = pypdfium2.PdfImage.new(scanned)
    picture.set_bitmap(pypdfium2.PdfDocument(source)[number].render(scale=3, grayscale=True))
    picture.set_matrix(pypdfium2.PdfMatrix().scale(612, 792))
    page = scanned[0]
    page.insert_obj(picture)
    page.gen_content()
    page.set_rotation(turn)
    data = io.BytesIO()
    scanned.save(data)
    return data.getvalue()


def png(data: bytes) -> bytes:
    """Return the first page of a PDF as a PNG image."""
    bitmap = pypdfium2.PdfDocument(data)[0].render(scale=3, grayscale=True)
    pixels, stride = bytes(bitmap.buffer), bitmap.stride
    rows = (pixels[y * stride :][: bitmap.width] for y in range(bitmap.height))

    def chunk(kind: bytes, body: bytes) -> bytes:
        return b"".join([len(body).to_bytes(4), kind, body, zlib.crc32(kind + body).to_bytes(4)])

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", bitmap.width, bitmap.height, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")


def meaningless(text: str) -> bytes:
    """Return a PDF that shows a text, and whose letters have no meaning in the file."""
    shown = f"BT /F1 24 Tf 50 700 Td ({text}) Tj ET"
    cmap = "1 begincodespacerange <00> <ff> endcodespacerange 1 beginbfrange <20> <7e> <e020> "
    cmap = f"begincmap {cmap}endbfrange endcmap"
    return file_of(
        [
            "<</Type/Catalog/Pages 2 0 R>>",
            "<</Type/Pages/Kids[5 0 R]/Count 1>>",
            "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/ToUnicode 6 0 R>>",
            f"<</Length {len(shown)}>>\nstream\n{shown}\nendstream",
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R"
            "/Resources<</Font<</F1 3 0 R>>>>>>",
            f"<</Length {len(cmap)}>>\nstream\n{cmap}\nendstream",
        ]
    )


def joined(*files: bytes) -> bytes:
    """Return a PDF with the pages of others."""
    writer = pypdf.PdfWriter()
    for file in files:
        writer.append(io.BytesIO(file))
    data = io.BytesIO()
    writer.write(data)
    return data.getvalue()


@needs("eng", "osd")
def test_pages_without_usable_text_are_read():
    more = "Every plant of the greenhouse has a sensor of its own,\nand each measures the soil.\n"
    words = pdf(f"The pump runs for 30 seconds and gives infor-\nmation about it.\n{6 * more}")
    data = joined(pdf("All information."), scan(words, stamp="Scanned with a phone", turn=180),
                  meaningless("Ferns like shade."), pdf(""))  # fmt: skip
    content = parse(data, Budget(ocr="eng"))
    pages = [content.text[a:b].split() for a, b in pairwise(content.pages)]
    page = f"The pump runs for 30 seconds and gives information about it.\n{6 * more}"
    assert pages == [["All", "information."], page.split(), ["Ferns", "like", "shade."]]
    read, missing = content.notes
    assert read == "OCR read 2 of 4 pages (2, 3), so there may be wrong letters."
    assert missing == (
        "1 of 4 pages (4) without text: blank, scanned or damaged. OCR in eng found nothing there."
    )


def test_ocr_is_offered():
    for data in (pdf(""), meaningless("Ferns like shade.")):
        with pytest.raises(DocumentError, match=r"--ocr eng, or ocr=\"eng\""):
            parse(data)
    assert "--ocr eng" in parse(joined(pdf("Moss."), pdf(""))).notes[0]


@needs("ara")
def test_right_to_left_text_is_in_logical_order():
    text = parse(scan(PRINTED / "scripts-chromium.pdf", 1), Budget(ocr="ara")).text
    assert "النباتات عندما تكون التربة جافة" in text
    assert re.search(r"الجهاز .* في 2024/05/12", text)
    assert not re.search("[\u200e\u200f\u202a-\u202e]", text)


@needs("eng")
def test_images_are_documents_only_with_ocr(write):
    picture = png(pdf("The pump runs."))
    path = write("a.png", picture)
    refuses(path, r"it is an image.*--ocr eng, or ocr=\"eng\"")
    # Of a file that is no image, Tesseract would read the names of others.
    for data in (str(path), picture[:200]):
        with pytest.raises(DocumentError, match=r"damaged, or no image|Tesseract cannot read it"):
            read(write("b.png", data), ocr="eng")
    files = write("c.zip", zipped({"a.png": picture, "b.txt": "Moss."}))
    assert [document.text for document in read_all(files)] == ["Moss."]
    texts = [document.text for document in read_all(files, ocr="eng")]
    assert texts == ["The pump runs.", "Moss."]


@needs("eng")
def test_unknown_languages_are_refused(write):
    path = write("a.txt", "Moss.")
    for languages in ("", "eng+", "--eng", "eng ara", "../eng", 7):
        with pytest.raises(InputError, match=r'such as "eng" or "eng\+ara", got'):
            read(path, ocr=languages)
    with pytest.raises(InputError, match=r"no language 'xyz'; it has .*eng.*tesseract-ocr-xyz"):
        read(path, ocr="eng+xyz")


def test_folders_have_images_only_with_ocr(write):
    folder = write("a.png", "x").parent
    write("b.txt", "Moss.")
    assert list(scan_folder(folder).files) == ["b.txt"]
    assert scan_folder(folder).other == {".png": 1}
    assert list(scan_folder(folder, ocr="eng").files) == ["a.png", "b.txt"]
    for load in (M3Loader(folder, ocr="e-").load, M3Reader(folder, ocr="e-").load_data):
        with pytest.raises(InputError, match="got 'e-'"):
            load()


@needs("eng")
def test_a_folder_is_indexed_again_with_other_languages(write, fresh):
    folder = write("a.png", png(pdf("The pump runs."))).parent
    write("b.txt", "Moss.")
    with M3Index.open(model=fresh) as index:
        changes = sync(index, folder, fresh.tokenizer, max_tokens=64)
        assert (len(changes.added), changes.other) == (1, {".png": 1})
        changes = sync(index, folder, fresh.tokenizer, max_tokens=64, ocr="eng")
        assert [len(changes.added), len(changes.replaced)] == [1, 1]
        assert {passage.text for passage in index.passages()} == {"The pump runs.", "Moss."}
        changes = sync(index, folder, fresh.tokenizer, max_tokens=64, ocr="eng")
        assert len(changes.unchanged) == 2


def test_without_tesseract_the_error_says_how_to_install_it(write, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"needs the program Tesseract.*apt install tesseract-ocr"):
        read(write("a.txt", "Moss."), ocr="eng")
