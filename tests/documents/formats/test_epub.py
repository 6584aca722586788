import io
import zipfile

import pytest

from m3rag.documents import read, split
from tests.documents.conftest import assert_whole
from tests.documents.formats.conftest import SCRIPTS, assert_survives, refuses, titles

CONTAINER = """<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/>
</rootfiles></container>"""
XHTML = "application/xhtml+xml"
NAV = """<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"><body>
<nav epub:type="toc"><ol>{}</ol></nav></body></html>"""


def book(chapters, extra=None) -> bytes:
    """Return a book of chapters, each a name, its title in the contents, and its XHTML body."""
    names = [name for name, _, _ in chapters]
    items = "".join(
        f'<item id="c{at}" href="text/{name.replace(" ", "%20")}" media-type="{XHTML}"/>'
        for at, name in enumerate(names)
    )
    order = "".join(f'<itemref idref="c{at}"/>' for at in range(len(names)))
    links = "".join(
        f'<li><a href="text/{name}#top">{title}</a></li>' for name, title, _ in chapters
    )
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        archive.writestr("META-INF/container.xml", CONTAINER)
        archive.writestr(
            "OEBPS/book.opf",
            '<package xmlns="http://www.idpf.org/2007/opf" version="3.0">'
            '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>The garden</dc:title>'
            "<dc:creator>Ana</dc:creator><dc:language>mul</dc:language></metadata><manifest>"
            f'<item id="nav" href="nav.xhtml" properties="nav" media-type="{XHTML}"/>'
            f"{items}</manifest><spine>{order}</spine></package>",
        )
        archive.writestr("OEBPS/nav.xhtml", NAV.format(links))
        for name, _, body in chapters:
            page = f'<html xmlns="http://www.w3.org/1999/xhtml"><head/><body>{body}</body></html>'
            archive.writestr(f"OEBPS/text/{name}", page)
        for name, text in (extra or {}).items():
            archive.writestr(name, text)
    return data.getvalue()


@pytest.fixture(scope="module")
def garden() -> bytes:
    chapters = [
        (f"z {99 - at}.xhtml", script, f"<h1>{script}</h1><p>{text}</p><h2>More</h2><p>Moss</p>")
        for at, (script, text) in enumerate(SCRIPTS.items())
    ]
    return book(chapters)


def test_chapters_are_in_the_order_of_the_book(write, garden, tokenizer):
    document = read(write("a.epub", garden))
    parts = (f"{script}\n\n{text}\n\nMore\n\nMoss" for script, text in SCRIPTS.items())
    assert document.text == "\n\n".join(parts)
    assert titles(document) == [pair for s in SCRIPTS for pair in ((1, s), (2, "More"))]
    assert document.metadata["title"] == "The garden"
    assert (document.metadata["author"], document.metadata["language"]) == ("Ana", "mul")
    passages = split(document, tokenizer, max_tokens=32)
    assert_whole(document, passages, tokenizer, 32)
    thai = next(passage for passage in passages if SCRIPTS["Thai"] in passage.text)
    assert thai.headings == ("Thai",)


def test_a_chapter_without_a_heading_gets_its_title_in_the_contents(write):
    chapters = [
        ("a.xhtml", "Kapitel 1", "<p>Moss</p>"),
        ("c.xhtml", "Two", "<p>TWO</p><p>Oak</p>"),
        ("b.xhtml", "x", "<h2>Own</h2><p>Fern</p>"),
    ]
    data = book(chapters)
    document = read(write("a.epub", data))
    assert document.text == "Kapitel 1\n\nMoss\n\nTWO\n\nOak\n\nOwn\n\nFern"
    assert titles(document) == [(1, "Kapitel 1"), (1, "TWO"), (2, "Own")]


def test_a_protected_book_is_refused_but_not_one_with_obscured_fonts(write):
    def encryption(path, algorithm):
        return {
            "META-INF/encryption.xml": "<encryption><EncryptedData>"
            f'<EncryptionMethod Algorithm="{algorithm}"/><CipherData>'
            f'<CipherReference URI="{path}"/></CipherData></EncryptedData></encryption>'
        }

    chapters = [("a.xhtml", "A", "<p>Moss</p>")]
    fonts = encryption("OEBPS/a.otf", "http://www.idpf.org/2008/embedding")
    assert read(write("a.epub", book(chapters, fonts))).text == "A\n\nMoss"
    text = encryption("OEBPS/text/a.xhtml", "http://www.w3.org/2001/04/xmlenc#aes128-cbc")
    refuses(write("b.epub", book(chapters, text)), "protected by DRM")


def test_damage_and_bombs_are_refused(write, garden):
    assert_survives(garden, ".epub", least=15)
    refuses(write("bomb.epub", book([("a.xhtml", "A", " " * 40_000_000)])), "times its size")
    entity = '<!DOCTYPE p [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9)
    )
    data = book([], {"META-INF/encryption.xml": f"{entity}]><p>&j;</p>"})
    refuses(write("laughs.epub", data), "entity amplification")
