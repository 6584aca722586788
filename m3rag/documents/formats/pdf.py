"""PDF: the text of the pages, their forms and comments, in the order of reading.

The parser uses PDFium (pypdfium2), the reader of Chromium: it is fast, reads the character maps of
every script and the encryption of every version, repairs damaged files, and is under a permissive
licence. `benchmarks/pdf.py` compares it with others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pypdfium2
import pypdfium2.raw as pdfium

from m3rag.documents.decoding import check_length
from m3rag.documents.document import Heading
from m3rag.documents.formats.content import UNLIMITED, Budget, Content, Writer, short_title
from m3rag.documents.ocr import recognized
from m3rag.documents.pdf.annotations import annotation_texts
from m3rag.documents.pdf.hyphens import join_words, words_of
from m3rag.documents.pdf.outline import bookmarks, headings
from m3rag.documents.pdf.page import page_text
from m3rag.documents.pdf.scans import image_of, is_scan
from m3rag.documents.pdf.strings import string_of
from m3rag.documents.pdf.xfa import form_text
from m3rag.errors import DocumentError

_STOPS = tuple(".!?…:。！？।؟۔")
_PASSWORD, _SECURITY = 4, 5  # errors of PDFium
# A page earns time by its characters. A page that is there thousands of times earns it once, and a
# small file with thousands of slow pages earns none.
_SECONDS_PER_CHARACTER = 50e-6
_MOST_SECONDS = 0.2
_NAMED = 12  # pages in a message
_BATCH = 100  # pages
_OFFER = 'Use OCR, in the languages of the text: --ocr eng, or ocr="eng"'


class _Page(NamedTuple):
    """The text of a page, as in `PageText`.

    Attributes:
        text: The text.
        usable: Whether its letters have a meaning.
        ocr: Whether OCR read it.
        failure: Why OCR could not.
    """

    text: str
    usable: bool = True
    ocr: bool = False
    failure: str = ""


def parse(data: bytes, budget: Budget = UNLIMITED) -> Content:
    """Return the text of all pages; bookmarks become headings."""
    with _opened(data) as pdf:
        if (count := len(pdf)) > budget.limits.pages:
            raise DocumentError(
                f"it has {count:,} pages, more than the limit of {budget.limits.pages:,}. Split "
                "it, or raise the limit: Limits(pages=…)."
            )
        if form := form_text(pdf):
            return Content(form, title=_title(pdf))
        title, marks = _title(pdf), list(bookmarks(pdf))
    found = list(_pages(data, count, budget))
    notes = _notes(found, budget.ocr)
    words = words_of(page.text for page in found)
    writer, pages, gap = Writer(), [], ""
    for page in found:
        text = _tidy(join_words(page.text, words))
        pages.append(writer.block(text, gap=gap))
        if text:  # a sentence may continue on the next page
            gap = "\n\n" if text.endswith(_STOPS) else "\n"
    text = writer.text
    entries = headings(marks, text, pages)
    titled = tuple(Heading(x.level, short_title(x.title), x.start) for x in entries)
    return Content(text, titled, title, tuple(pages), notes=notes)


def _opened(data: bytes) -> pypdfium2.PdfDocument:
    try:
        pdf = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if error.err_code == _PASSWORD:
            raise DocumentError(
                "it needs a password. Open it with the password and save a copy without one."
            ) from error
        if error.err_code == _SECURITY:
            raise DocumentError(
                "it is encrypted for certain people or by a shop, not with a password. Open it "
                "where it can be opened, and print or save a copy without protection."
            ) from error
        raise
    pdf.init_forms()
    return pdf


def _pages(data: bytes, count: int, budget: Budget) -> Iterator[_Page]:
    """Yield the pages; one that cannot be read has no text.

    PDFium keeps the fonts of all pages that it has read, so a long document is opened again after
    some pages.
    """
    length = 0
    seen: set[int] = set()
    fields: set[str] = set()
    for start in range(0, count, _BATCH):
        with _opened(data) as pdf:
            for i in range(start, min(start + _BATCH, count)):
                page = _read(pdf, i, fields, budget)
                length += len(page.text)
                check_length(length, budget.limits)
                if (content := hash(page.text)) not in seen:
                    seen.add(content)
                    earned = _SECONDS_PER_CHARACTER * len(page.text)
                    budget.more_time(min(_MOST_SECONDS, earned))
                yield page


def _read(pdf: pypdfium2.PdfDocument, number: int, fields: set[str], budget: Budget) -> _Page:
    try:
        page = pdf[number]
    except pypdfium2.PdfiumError:
        return _Page("")
    try:
        found = _Page(*page_text(page))
        if budget.ocr is not None and is_scan(page, found.text):
            found = _recognized(page, found, budget.ocr, budget)
        extra = "\n".join(annotation_texts(page, pdf.formenv, fields))
        return found._replace(text="\n\n".join(filter(None, (found.text, extra))))
    finally:
        page.close()


def _recognized(page: Any, found: _Page, languages: str, budget: Budget) -> _Page:
    """Return what OCR reads on a page, if that is more than its own text."""
    try:
        text = "\n\n".join(recognized(image_of(page), languages, budget.more_time))
    except DocumentError as error:
        return found._replace(failure=str(error))
    if sum(map(str.isalnum, text)) <= sum(map(str.isalnum, found.text)):
        return found
    return _Page(text, ocr=True)


def _notes(pages: Sequence[_Page], ocr: str | None) -> tuple[str, ...]:
    """Return what is missing, and what was read by OCR, as sentences.

    Raises:
        DocumentError: Everything is missing.
    """
    count = len(pages)
    numbered = list(enumerate(pages, start=1))
    unusable = [i for i, page in numbered if not page.usable]
    empty = [i for i, page in numbered if page.usable and not page.text.strip()]
    read = [i for i, page in numbered if page.ocr]
    failure = next((f" {page.failure}" for page in pages if page.failure), "")
    advice = f"{_OFFER}." if ocr is None else f"OCR in {ocr} found nothing there.{failure}"
    if len(unusable) == count and count:
        raise DocumentError(
            f"the letters of its {_counted(count)} have no meaning in the file, only shapes. "
            f"{advice}"
        )
    if len(unusable) + len(empty) == count:
        raise DocumentError(
            f"none of its {count} pages has text, so it is probably a scan. {advice}"
        )
    notes = []
    if read:
        notes.append(f"OCR read {_numbered(read, count)}, so there may be wrong letters.")
    if unusable:
        notes.append(
            f"The letters of {_numbered(unusable, count)} have no meaning in the file, only "
            f"shapes, so they are left out. {advice}"
        )
    if empty:
        notes.append(f"{_numbered(empty, count)} without text: blank, scanned or damaged. {advice}")
    return tuple(notes)


def _counted(count: int) -> str:
    return "page" if count == 1 else f"{count} pages"


def _numbered(numbers: Sequence[int], count: int) -> str:
    """Return the numbers of pages, such as "2 of 5 pages (3, 4)"."""
    named = ", ".join(map(str, numbers[:_NAMED]))
    more = ", …" if len(numbers) > _NAMED else ""
    return f"{len(numbers):,} of {count:,} pages ({named}{more})"


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n")).strip()


def _title(pdf: Any) -> str | None:
    return " ".join(string_of(pdfium.FPDF_GetMetaText, pdf.raw, b"Title").split()) or None
