"""Images (.png, .jpg and others): the text that OCR reads; each image of a TIFF file is a page."""

from __future__ import annotations

from m3rag.documents.decoding import check_length
from m3rag.documents.formats.content import UNLIMITED, Budget, Content, Writer
from m3rag.documents.ocr import recognized
from m3rag.documents.pdf.hyphens import join_words, words_of
from m3rag.errors import DocumentError

# Of a file that is none of these, Tesseract reads the names of files to open.
_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"BM")


def parse(data: bytes, budget: Budget = UNLIMITED) -> Content:
    """Return the text of an image."""
    if budget.ocr is None:
        raise DocumentError(
            'it is an image. Use OCR, in the languages of its text: --ocr eng, or ocr="eng".'
        )
    if not (data.startswith(_STARTS) or data[:4] + data[8:12] == b"RIFFWEBP"):
        raise DocumentError("it is damaged, or no image. Save it again, as PNG.")
    pages = recognized(data, budget.ocr, budget.more_time)
    words = words_of(pages)
    writer = Writer()
    for page in pages:
        if len(pages) > 1:
            writer.page()
        writer.block(join_words(page, words))
        check_length(writer.length, budget.limits)
    return writer.content()
