"""What people wrote into a PDF: the values of its form fields, and its comments."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pypdfium2.raw as pdfium

_NO_TEXT = (
    pdfium.FPDF_FORMFIELD_UNKNOWN,
    pdfium.FPDF_FORMFIELD_PUSHBUTTON,
    pdfium.FPDF_FORMFIELD_SIGNATURE,
)
_PASSWORD = 1 << 13  # the flag of a text field that hides what is typed into it
_NO_COMMENTS = (pdfium.FPDF_ANNOT_POPUP, pdfium.FPDF_ANNOT_LINK)  # a pop-up repeats its parent's
_MOST = 1 << 20  # bytes of one text


def annotation_texts(page: Any, form: Any, seen: set[str]) -> Iterator[str]:
    """Yield the fields of a page as "name: value" and the texts of its comments.

    Args:
        page: A page of `pypdfium2`.
        form: The form environment of its document, or None.
        seen: The names of fields that were yielded; a field may be on many pages.
    """
    for i in range(pdfium.FPDFPage_GetAnnotCount(page.raw)):
        with _annotation(page, i) as annotation:
            kind = pdfium.FPDFAnnot_GetSubtype(annotation) if annotation else None
            if kind == pdfium.FPDF_ANNOT_WIDGET and form is not None:
                if text := _field(form, annotation, seen):
                    yield text
            elif kind is not None and kind not in _NO_COMMENTS:
                comment = _string(pdfium.FPDFAnnot_GetStringValue, annotation, b"Contents")
                if comment.strip():
                    yield comment.strip()


@contextmanager
def _annotation(page: Any, i: int) -> Iterator[Any]:
    annotation = pdfium.FPDFPage_GetAnnot(page.raw, i)
    try:
        yield annotation
    finally:
        if annotation:
            pdfium.FPDFPage_CloseAnnot(annotation)


def _field(form: Any, annotation: Any, seen: set[str]) -> str | None:
    """Return the name and the value of a field that has a value and was not seen before."""
    if pdfium.FPDFAnnot_GetFormFieldType(form, annotation) in _NO_TEXT:
        return None
    if pdfium.FPDFAnnot_GetFormFieldFlags(form, annotation) & _PASSWORD:
        return None
    value = _string(pdfium.FPDFAnnot_GetFormFieldValue, form, annotation).strip()
    name = _string(pdfium.FPDFAnnot_GetFormFieldName, form, annotation)
    if not value or value == "Off" or name in seen:
        return None
    seen.add(name)
    label = _string(pdfium.FPDFAnnot_GetFormFieldAlternateName, form, annotation) or name
    label = " ".join(label.split())
    return f"{label}: {value}" if label else value


def _string(function: Callable[..., int], *arguments: Any) -> str:
    """Return what a function of PDFium writes into a buffer as UTF-16."""
    size = min(function(*arguments, None, 0), _MOST)
    if size <= 2:
        return ""
    buffer = ctypes.create_string_buffer(size)
    function(*arguments, ctypes.cast(buffer, ctypes.POINTER(pdfium.FPDF_WCHAR)), size)
    text = buffer.raw[:size].decode("utf-16-le", "replace").rstrip("\0")
    return text.replace("\r\n", "\n").replace("\r", "\n")
