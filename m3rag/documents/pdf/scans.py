"""Pages that are images: which ones are, and the image of a page for OCR."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import pypdfium2.raw as pdfium

_SCALE = 300 / 72  # pixels per point: 300 dots per inch, which Tesseract is made for
_MOST_PIXELS = 40_000_000  # of an image; a page of ISO A3 has 17 million
_LONGEST = 32_000  # pixels of a side; Tesseract refuses more
_FEW = 200  # letters of a page that may be a scan with a stamp on it
_COVERED = 0.5  # of a page, by an image


def is_scan(page: Any, text: str) -> bool:
    """Return whether a page is an image, with no text or only a stamp such as "Scanned with …".

    Args:
        page: A page of `pypdfium2`.
        text: Its text.
    """
    letters = sum(map(str.isalnum, text))
    return not letters or (letters < _FEW and _largest_image(page) >= _COVERED)


def _largest_image(page: Any) -> float:
    """Return the share of a page that its largest image covers."""
    edges = [ctypes.c_float() for _ in range(4)]
    whole, largest = page.get_width() * page.get_height(), 0.0
    for i in range(pdfium.FPDFPage_CountObjects(page.raw)):
        item = pdfium.FPDFPage_GetObject(page.raw, i)
        kind = pdfium.FPDFPageObj_GetType(item)
        if kind == pdfium.FPDF_PAGEOBJ_IMAGE and pdfium.FPDFPageObj_GetBounds(item, *edges):
            left, bottom, right, top = (edge.value for edge in edges)
            largest = max(largest, (right - left) * (top - bottom))
    return largest / whole if whole else 0.0


def image_of(page: Any) -> bytes:
    """Return a page of `pypdfium2` as a grey image in the format PGM."""
    width, height = (max(side, 1.0) for side in (page.get_width(), page.get_height()))
    most = min(math.sqrt(_MOST_PIXELS / (width * height)), _LONGEST / max(width, height))
    bitmap = page.render(scale=min(_SCALE, most), grayscale=True)
    try:
        pixels = memoryview(bitmap.buffer).cast("B")
        starts = range(0, bitmap.height * bitmap.stride, bitmap.stride)
        rows = [pixels[start : start + bitmap.width] for start in starts]
        return b"".join([b"P5 %d %d 255\n" % (bitmap.width, bitmap.height), *rows])
    finally:
        bitmap.close()
