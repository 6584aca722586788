"""What people wrote into a PDF: the values of its form fields, and its comments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pypdfium2.raw as pdfium

from m3rag.documents.pdf.strings import string_of

_NO_TEXT = (
    pdfium.FPDF_FORMFIELD_UNKNOWN,
    pdfium.FPDF_FORMFIELD_PUSHBUTTON,
    pdfium.FPDF_FORMFIELD_SIGNATURE,
)
_PASSWORD = 1 << 13  # the flag of a text field that hides what is typed into it
_NO_COMMENTS = (pdfium.FPDF_ANNOT_POPUP, pdfium.FPDF_ANNOT_LINK)  # a pop-up repeats its parent's


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
                comment = string_of(pdfium.FPDFAnnot_GetStringValue, annotation, b"Contents")
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
    value = string_of(pdfium.FPDFAnnot_GetFormFieldValue, form, annotation).strip()
    name = string_of(pdfium.FPDFAnnot_GetFormFieldName, form, annotation)
    if not value or value == "Off" or name in seen:
        return None
    seen.add(name)
    label = string_of(pdfium.FPDFAnnot_GetFormFieldAlternateName, form, annotation) or name
    label = " ".join(label.split())
    return f"{label}: {value}" if label else value
