"""Hostile documents: broken copies of small real files, and files made to take time or memory."""

from __future__ import annotations

import io
import random
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.trials.document_mutations import mutated, with_parts

CORPUS = Path(__file__).parent / "corpus"
_BODY = "word/document.xml"
_END = b"<w:sectPr"


class Hostile(NamedTuple):
    """A document.

    Attributes:
        name: What it is, and the suffix that it is read by.
        data: Its content.
    """

    name: str
    data: bytes


def hostile_documents(seed: int, count: int) -> Iterator[Hostile]:
    """Yield documents: a third of them constructed, the others mutations of the corpus."""
    rng = random.Random(seed)
    samples = sorted(CORPUS.iterdir())
    for number in range(count):
        if number % 3 == 0:
            make = CONSTRUCTED[number // 3 % len(CONSTRUCTED)]
            suffix, data = make(rng)
            yield Hostile(f"{number}-{make.__name__}.{suffix}", data)
        else:
            sample = rng.choice(samples)
            data = mutated(rng, sample.read_bytes(), sample.suffix)
            suffix = rng.choice(samples).suffix if rng.random() < 0.1 else sample.suffix
            yield Hostile(f"{number}-{sample.stem}{suffix}", data)


def word(body: bytes, *, replaced: bytes = _END) -> bytes:
    """Return a .docx file with more XML in its body."""
    data = (CORPUS / "trees.docx").read_bytes()
    return with_parts(data, lambda part: part.replace(replaced, body + replaced, 1), only=_BODY)


def pdf(*objects: bytes) -> bytes:
    """Return a PDF file of objects, of which the first is the catalog."""
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    return out + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n"
        b"%%%%EOF" % (size, table, size, len(out))
    )


def pdf_page(stream: bytes, *, pages: int = 1, options: bytes = b"", more: bytes = b"") -> bytes:
    """Return a PDF file that has the same page one or more times."""
    font = b"/Resources<</Font<</F1 <</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>%s>>" % more
    return pdf(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (b"4 0 R " * pages, pages),
        b"<</Length %d%s>>\nstream\n%s\nendstream" % (len(stream), options, stream),
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 3 0 R%s>>" % font,
    )


# Constructed documents

_FLATE = b"/Filter/FlateDecode"
Made = tuple[str, bytes]


def _size(rng: random.Random, most: int) -> int:
    return rng.randrange(most // 4, most)


def deep_html(rng: random.Random) -> Made:
    tag = rng.choice(
        ["<div>", "<ul><li>", "<table><tr><td>", "<b>", "<blockquote>", "<font>", "<a>"]
    )
    return "html", (tag * _size(rng, 100_000) + "x").encode()


def many_tags(rng: random.Random) -> Made:
    tags = ("<b>", "<p>x", "<br>", "<b>x</b>", "<li>a", "<td>1", "<!-- -->", "<x y=1>", "</p>")
    tag = rng.choice(tags)
    return "html", tag.encode() * _size(rng, 3_000_000)


def many_attributes(rng: random.Random) -> Made:
    names = " ".join(f"a{i}={i}" for i in range(_size(rng, 300_000)))
    return "html", f"<p {names}>x".encode()


def odd_charset(rng: random.Random) -> Made:
    names = (
        "unicode_escape raw_unicode_escape punycode idna utf-7 rot13 zlib bz2 hex base64 uu quopri "
        "undefined mbcs oem utf-16 utf-32 cp037 utf_8_sig x-user-defined \0 ../x"
    )
    name = rng.choice(names.split(" "))
    text = rng.choice([r"\ud800", "+2AA-", "a" * 100_000, r"\N{BULLET}", "&#xD800;&#xDFFF;"])
    return "html", f'<meta charset="{name}"><p>lone {text} half'.encode()


def entities(rng: random.Random) -> Made:
    return "html", rng.choice([b"&", b"&#55357;", b"&#x110000;", b"&amp", b"&lt;b"]) * 300_000


def deep_markdown(rng: random.Random) -> Made:
    piece = rng.choice(
        ["> ", "- ", "1. ", "[", "![", "*", "_", "`", "<", "&", "\\", "|", "~~~", "# "]
    )
    end = rng.choice(["", "\n", " x\n"])
    return "md", ("# " + piece * _size(rng, 200_000) + end).encode()


def many_blocks(rng: random.Random) -> Made:
    lines = (
        "- a\n", "> > > a\n", "[a]: b\n", "[a\n", "# a\n", "a\n===\n", "|a|\n", "<b>\n",
        "\t\ta\n", "    a\n", "```\n", "* * *\n", "a\n", "1) a\n", "<!--\n", "-\n", "#\n",
        "[a](\n",
    )  # fmt: skip
    return "md", rng.choice(lines).encode() * _size(rng, 400_000)


def nested_lists(rng: random.Random) -> Made:
    return "md", "".join("  " * min(i, 1_000) + "- a\n" for i in range(_size(rng, 2_000))).encode()


def endless_front_matter(rng: random.Random) -> Made:
    return "md", b"---\n" + b"a: b\n" * _size(rng, 3_000_000)


def one_line(rng: random.Random) -> Made:
    pieces = ("a", " ", '"', "e\u0301", "土", "\u0301", ".", "(", "🇩", "\u200d", "a, ", "\u2028")
    piece = rng.choice(pieces)
    return rng.choice(["txt", "md"]), (f"x{piece * _size(rng, 8_000_000)}y").encode()


def wide_text(rng: random.Random) -> Made:
    return "txt", "😀".encode() + b"a" * _size(rng, 70_000_000)


def binary_text(rng: random.Random) -> Made:
    starts = (b"%PDF-1.7", b"PK\3\4", b"\x7fELF", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"MZ\x90\0")
    start = rng.choice(starts)
    return rng.choice(["txt", "md", "html", "docx", "pdf"]), start + rng.randbytes(5_000)


def pdf_bomb(rng: random.Random) -> Made:
    pieces = (b" ", b"q Q ", b"(a) Tj ", b"[(a)]TJ ", b"(", b"[", b"<<", b"0 ", b"BT ET ")
    piece = rng.choice(pieces)
    raw = b"BT /F1 12 Tf " + piece * (_size(rng, 100_000_000) // len(piece)) + b" ET"
    options = _FLATE
    data = zlib.compress(raw, 1)
    if rng.random() < 0.3:
        data, options = zlib.compress(data), b"/Filter[/FlateDecode/FlateDecode]"
    return "pdf", pdf_page(data, options=options)


def pdf_pages(rng: random.Random) -> Made:
    stream = b"BT /F1 9 Tf 14 TL 50 700 Td " + b"(words on a line) Tj T* " * _size(rng, 300) + b"ET"
    return "pdf", pdf_page(stream, pages=rng.choice([300, 5_000, 30_000, 200_000]))


def pdf_loop(rng: random.Random) -> Made:
    kids = rng.choice([b"2 0 R", b"2 0 R 3 0 R", b"3 0 R", b"9 0 R", b"3 0 R " * 5_000])
    return "pdf", pdf(
        rng.choice([b"<</Type/Catalog/Pages 2 0 R>>", b"1 0 R", b"<</Pages 1 0 R/Type/Catalog>>"]),
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, rng.choice([1, -1, 10**9, 10**30])),
        b"<</Type/Pages/Kids[2 0 R 3 0 R]/Parent 3 0 R>>",
    )


def pdf_xref(rng: random.Random) -> Made:
    data = (CORPUS / "roots.pdf").read_bytes()
    at = data.rfind(b"startxref")
    prev = rng.choice([b"0", b"9", b"%d" % at, b"99999999999999999999"])
    tail = b"trailer\n<</Size %s/Root 1 0 R/Prev %s>>\n" % (rng.choice([b"4", b"9" * 12]), prev)
    start = rng.choice([b"0", b"%d" % data.rfind(b"xref", 0, at), b"%d" % (at - 3), b"-5"])
    return "pdf", data[:at] + tail + b"startxref\n" + start + b"\n%%EOF"


def pdf_forms(rng: random.Random) -> Made:
    depth, fan = rng.choice([(2, 3_000), (12, 4), (60, 2), (1, 20_000)])
    forms = []
    for level in range(depth):
        body = (
            b"/F%d Do " % (level + 1) * fan if level + 1 < depth else b"BT /F1 12 Tf (deep) Tj ET"
        )
        more = b"/Resources<</XObject<</F%d %d 0 R>>>>" % (level + 1, 6 + level)
        forms.append(
            b"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]%s/Length %d>>\nstream\n%s\nendstream"
            % (more, len(body), body)
        )
    page = b"/F0 Do " * fan
    return "pdf", pdf(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[4 0 R]/Count 1>>",
        b"<</Length %d>>\nstream\n%s\nendstream" % (len(page), page),
        b"<</Type/Page/Parent 2 0 R/Contents 3 0 R/Resources<</XObject<</F0 5 0 R>>>>>>",
        *forms,
    )


def word_bomb(rng: random.Random) -> Made:
    piece = rng.choice([b"<w:p/>", b"<w:p><w:r><w:t>a</w:t></w:r></w:p>", b" ", b"<w:tbl/>"])
    return "docx", word(piece * (_size(rng, 150_000_000) // len(piece)))


def word_paragraphs(rng: random.Random) -> Made:
    style = b'<w:pPr><w:pStyle w:val="%s"/></w:pPr>' % rng.choice([b"Heading1", b"None", b""])
    return "docx", word(b"<w:p>%s<w:r><w:t>a b</w:t></w:r></w:p>" % style * _size(rng, 200_000))


def word_nested(rng: random.Random) -> Made:
    depth = rng.choice([20, 80, 250, 5_000])
    nestings = (
        (b"<w:tbl><w:tr><w:tc>", b"</w:tc></w:tr></w:tbl>"),
        (b"<w:sdt><w:sdtContent>", b"</w:sdtContent></w:sdt>"),
        (b"<w:p><w:r><w:txbxContent>", b"</w:txbxContent></w:r></w:p>"),
    )
    start, end = rng.choice(nestings)
    inner = b"<w:p><w:r><w:t>deep</w:t></w:r></w:p>" * rng.choice([1, 500])
    return "docx", word(start * depth + inner + end * depth)


def word_entities(rng: random.Random) -> Made:
    declared = b"".join(b'<!ENTITY e%d "%s">' % (i + 1, b"&e%d;" % i * 10) for i in range(9))
    kind = rng.choice([b'<!ENTITY e0 "lol">', b'<!ENTITY e0 SYSTEM "file:///etc/passwd">'])
    data = word(b"<w:p><w:r><w:t>&e9;</w:t></w:r></w:p>")
    doctype = b"<!DOCTYPE w:document [%s%s]>" % (kind, declared)
    return "docx", with_parts(
        data, lambda part: part.replace(b"<w:document", doctype + b"<w:document", 1), only=_BODY
    )


def word_many_parts(rng: random.Random) -> Made:
    out = io.BytesIO((CORPUS / "trees.docx").read_bytes())
    with zipfile.ZipFile(out, "a") as archive:
        for number in range(rng.choice([500, 20_000])):
            archive.writestr(f"word/x{number}.xml", b"<x/>")
    return "docx", out.getvalue()


def word_lying_sizes(rng: random.Random) -> Made:
    """Return a file whose directory declares other sizes than its parts have."""
    data = bytearray(word(b" " * _size(rng, 150_000_000)))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        real = archive.getinfo(_BODY).file_size.to_bytes(4, "little")
    fake = rng.choice([100, 5_000, 0xFFFFFFFE, 0]).to_bytes(4, "little")
    return "docx", bytes(data.replace(real, fake))


CONSTRUCTED: tuple[Callable[[random.Random], Made], ...] = (
    deep_html, many_tags, many_attributes, odd_charset, entities, deep_markdown, many_blocks,
    nested_lists, endless_front_matter, one_line, wide_text, binary_text, pdf_bomb, pdf_pages,
    pdf_loop, pdf_xref, pdf_forms, word_bomb, word_paragraphs, word_nested, word_entities,
    word_many_parts, word_lying_sizes,
)  # fmt: skip
