"""The text of an XFA form, whose only page says "Please wait" to every program but Acrobat."""

from __future__ import annotations

import ctypes
from typing import Any

import pypdfium2.raw as pdfium
from lxml import etree

from m3rag.documents.markup import descendants, line_of, local

_PARTS = ("template", "datasets")
_TEXTS = ("text", "exData", "integer", "decimal", "date", "time", "dateTime", "float")
_LONGEST = 64 << 20  # bytes of a part


def form_text(pdf: Any) -> str | None:
    """Return the labels of a document's XFA form and the values that were typed into it.

    Args:
        pdf: A document of `pypdfium2`.

    Returns:
        The text. None if the document has pages of its own, or an XFA form without any text.
    """
    if pdfium.FPDF_GetFormType(pdf.raw) != pdfium.FORMTYPE_XFA_FULL:
        return None
    parts = {name: root for name, root in _parts(pdf) if name in _PARTS}
    texts = descendants(parts["template"], *_TEXTS) if "template" in parts else ()
    labels = [line_of(text) for text in texts]
    values = [
        f"{local(item)}: {item.text.strip()}"
        for item in (parts["datasets"].iter() if "datasets" in parts else ())
        if local(item) and len(item) == 0 and item.text and item.text.strip()
    ]
    return "\n".join(filter(None, [*labels, *values])) or None


def _parts(pdf: Any) -> list[tuple[str, Any]]:
    """Return the name and the XML of each part of the form."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, recover=True)
    found = []
    for i in range(max(pdfium.FPDF_GetXFAPacketCount(pdf.raw), 0)):
        size = pdfium.FPDF_GetXFAPacketName(pdf.raw, i, None, 0)
        name = ctypes.create_string_buffer(size)
        pdfium.FPDF_GetXFAPacketName(pdf.raw, i, name, size)
        length = ctypes.c_ulong()
        pdfium.FPDF_GetXFAPacketContent(pdf.raw, i, None, 0, length)
        if not 0 < length.value <= _LONGEST:
            continue
        content = ctypes.create_string_buffer(length.value)
        pdfium.FPDF_GetXFAPacketContent(pdf.raw, i, content, length.value, length)
        root = etree.fromstring(content.raw[: length.value], parser)
        if root is not None:
            found.append((name.value.decode(errors="replace"), root))
    return found
