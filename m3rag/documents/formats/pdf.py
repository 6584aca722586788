"""PDF: the text of the pages, in order.

The parser uses pypdf, because it is pure Python, maintained, and under a permissive license.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from pypdf import PdfReader

from m3rag.documents.decoding import check_length
from m3rag.documents.document import Heading
from m3rag.documents.formats.content import Budget, Content, Writer, short_title
from m3rag.errors import DocumentError

_HYPHEN = re.compile(r"(?<=[^\W\d_])[-\u00ad\u2010]\n(?=[^\W\d_])")
_UNLIMITED = Budget()
_STOPS = tuple(".!?…:。！？।؟۔")


_DEEPEST_BOOKMARK = 16
# A page earns time by the bytes of its content, as they are stored. A small file with thousands of
# slow pages, or with the same page thousands of times, therefore earns none.
_SECONDS_PER_BYTE = 20e-6
_MOST_SECONDS = 0.2


def parse(data: bytes, budget: Budget = _UNLIMITED) -> Content:
    """Return the text of all pages; bookmarks that start a line of it become headings."""
    reader = PdfReader(BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise DocumentError("it is encrypted. Save a copy without a password.")
    if (count := len(reader.pages)) > budget.limits.pages:
        raise DocumentError(
            f"it has {count:,} pages, more than the limit of {budget.limits.pages:,}. Split it, or "
            "raise the limit: Limits(pages=…)."
        )
    writer = Writer()
    pages: list[int] = []
    gap = ""
    seen: set[int] = set()
    for page in reader.pages:
        text = _clean(page.extract_text())
        start = writer.block(text, gap=gap)
        pages.append(start)
        if text:  # a sentence may continue on the next page
            gap = "\n\n" if text.endswith(_STOPS) else "\n"
        check_length(writer.length, budget.limits)
        budget.more_time(min(_MOST_SECONDS, _SECONDS_PER_BYTE * _stored_bytes(page, seen)))
    if pages and not writer.length:
        raise DocumentError(
            f"none of its {len(pages)} pages has text, so it is probably a scan. Run OCR on it "
            "first, for example with ocrmypdf."
        )
    text = writer.text
    headings = tuple(_headings(reader, text, pages))
    title = reader.metadata.title if reader.metadata else None
    return Content(text, headings, str(title) if title else None, tuple(pages))


def _stored_bytes(page: Any, seen: set[int]) -> int:
    """Return the size of a page's content in the file; content of an earlier page counts 0."""
    contents = page["/Contents"].get_object() if "/Contents" in page else []
    parts = contents if isinstance(contents, list) else [contents]
    total = 0
    for part in parts[:64]:
        data = getattr(part.get_object(), "_data", b"")
        if isinstance(data, bytes) and (content := hash(data)) not in seen:
            seen.add(content)
            total += len(data)
    return total


def _clean(text: str) -> str:
    """Repair defects of PDF text: split surrogate pairs, NULs, words broken at a line's end."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _HYPHEN.sub("", "\n".join(line.rstrip() for line in text.split("\n"))).strip()


def _headings(reader: PdfReader, text: str, pages: list[int]) -> Iterator[Heading]:
    """Yield the bookmarks that start a line of their page, after the previous one's."""
    after = 0
    for level, title, number in _bookmarks(reader, reader.outline, level=1):
        title = short_title(" ".join(title.split()))
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
    """Yield the level, title and page number of each bookmark, depth first."""
    for entry in outline:
        if isinstance(entry, list):
            if level < _DEEPEST_BOOKMARK:
                yield from _bookmarks(reader, entry, level=level + 1)
        else:
            yield level, str(entry.title or ""), reader.get_destination_page_number(entry)
