"""PDF: the text of the pages, one after the other.

pypdf, because it is pure Python, kept up, and under a permissive licence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from pypdf import PdfReader

from m3rag.documents.document import Heading
from m3rag.documents.formats.content import Content, Writer
from m3rag.errors import DocumentError

_HYPHEN = re.compile(r"(?<=[^\W\d_])[-\u00ad\u2010]\n(?=[^\W\d_])")
_STOPS = tuple(".!?…:。！？।؟۔")


def parse(data: bytes) -> Content:
    """Reads the text of every page; bookmarks that begin a line of it become headings."""
    reader = PdfReader(BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise DocumentError("it is encrypted: save a copy without password.")
    writer = Writer()
    pages: list[int] = []
    gap = ""
    for page in reader.pages:
        text = _clean(page.extract_text())
        start = writer.block(text, gap=gap)
        pages.append(start)
        if text:  # a sentence may go on over the page
            gap = "\n\n" if text.endswith(_STOPS) else "\n"
    if pages and not writer.length:
        raise DocumentError(
            f"none of its {len(pages)} pages has text: it is probably a scan. Run OCR on it first, "
            "with ocrmypdf for example."
        )
    text = writer.text
    headings = tuple(_headings(reader, text, pages))
    title = reader.metadata.title if reader.metadata else None
    return Content(text, headings, title or None, tuple(pages))


def _clean(text: str) -> str:
    """Repairs what PDFs do to text: halved surrogates, NULs, words broken at the end of a line."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _HYPHEN.sub("", "\n".join(line.rstrip() for line in text.split("\n"))).strip()


def _headings(reader: PdfReader, text: str, pages: list[int]) -> Iterator[Heading]:
    """Yields the bookmarks that are found as the beginning of a line at or after the one before."""
    after = 0
    for level, title, number in _bookmarks(reader, reader.outline, level=1):
        title = " ".join(title.split())
        if number is None or not title:
            continue
        end = pages[number + 1] if number + 1 < len(pages) else len(text)
        words = r"\s+".join(map(re.escape, title.split()))
        line = re.compile(rf"^[^\S\n]*{words}", re.MULTILINE | re.IGNORECASE)
        if found := line.search(text, max(after, pages[number]), end):
            yield Heading(level, title, found.start())
            after = found.end()


def _bookmarks(
    reader: PdfReader, outline: list[Any], *, level: int
) -> Iterator[tuple[int, str, int | None]]:
    """Yields level, title and page number of the bookmarks, depth first."""
    for entry in outline:
        if isinstance(entry, list):
            yield from _bookmarks(reader, entry, level=level + 1)
        else:
            yield level, str(entry.title or ""), reader.get_destination_page_number(entry)
