"""PDF files written by hand: pages of lines, or letters with a meaning of their choice."""

import io
from typing import NamedTuple

import pypdf

_HELVETICA = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"


def pdf(
    *pages: str,
    bookmarks: tuple[tuple[str, int], ...] = (),
    password: str = "",
    algorithm: str = "RC4-128",
    owner: str = "",
) -> bytes:
    """Return a PDF with one column of text per page."""
    streams = []
    for page in pages:
        shown = "".join(f"({line}) Tj T* " for line in page.split("\n") if line)
        streams.append(f"BT /F1 12 Tf 14 TL 50 700 Td {shown}ET")
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf_of(*streams)))
    for title, number in bookmarks:
        writer.add_outline_item(title=title, page_number=number)
    if password or owner:
        writer.encrypt(password, owner or None, algorithm=algorithm)
    data = io.BytesIO()
    writer.write(data)
    return data.getvalue()


def pdf_of(*streams: str, font: str = _HELVETICA, more: str = "") -> bytes:
    """Return a PDF with a page for each content stream; `more` goes into every page."""
    objects = ["<</Type/Catalog/Pages 2 0 R>>", "", font]
    kids = []
    for stream in streams:
        objects.append(f"<</Length {len(stream)}>>\nstream\n{stream}\nendstream")
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents {len(objects)} 0 R"
            f"/Resources<</Font<</F1 3 0 R>>>>{more}>>"
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<</Type/Pages/Kids[{' '.join(kids)}]/Count {len(kids)}>>"
    return file_of(objects)


def file_of(objects: list[str], *, catalog: int = 1) -> bytes:
    """Return a PDF file of numbered objects."""
    out, offsets = "%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    trailer = f"trailer\n<</Size {size}/Root {catalog} 0 R>>\nstartxref\n{len(out)}\n%%EOF"
    return f"{out}xref\n0 {size}\n0000000000 65535 f \n{table}{trailer}".encode()


class Shown(NamedTuple):
    """Letters in a row from left to right, each 6 points wide.

    Attributes:
        letters: What each stands for in the character map; a letter may stand for several.
        x: Where they start.
        y: Their baseline.
        spelled: What the file says that they spell, if it does.
    """

    letters: list[str]
    x: float = 50
    y: float = 700
    spelled: str | None = None


def drawn(*rows: Shown) -> bytes:
    """Return a PDF with one page of letters."""
    meanings = sorted({letter for row in rows for letter in row.letters})
    codes = {letter: code for code, letter in enumerate(meanings, start=33)}
    stream = ""
    for row in rows:
        code = "".join(f"{codes[letter]:02x}" for letter in row.letters)
        text = f"BT /F1 12 Tf {row.x} {row.y} Td <{code}> Tj ET\n"
        if row.spelled is not None:
            spelled = ("\ufeff" + row.spelled).encode("utf-16-be").hex()
            text = f"/Span<</ActualText<{spelled}>>>BDC {text} EMC\n"
        stream += text
    pairs = "\n".join(f"<{c:02x}><{t.encode('utf-16-be').hex()}>" for t, c in codes.items())
    table = (
        "/CIDInit/ProcSet findresource begin begincmap 1 begincodespacerange<00><ff>"
        f"endcodespacerange {len(codes)} beginbfchar {pairs} endbfchar endcmap end"
    )
    widths = " ".join(["500"] * 96)
    font = (
        f"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/FirstChar 32/LastChar 127/Widths[{widths}]"
        "/ToUnicode 6 0 R>>"
    )
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[5 0 R]/Count 1>>",
        font,
        f"<</Length {len(stream)}>>\nstream\n{stream}\nendstream",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R"
        "/Resources<</Font<</F1 3 0 R>>>>>>",
        f"<</Length {len(table)}>>\nstream\n{table}\nendstream",
    ]
    return file_of(objects)
