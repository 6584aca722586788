"""The text of an XFA form, whose only page says "Please wait" to every program but Acrobat."""

from __future__ import annotations

import ctypes
from typing import Any

import pypdfium2.raw as pdfium
from lxml import etree

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
    labels = [_visible(item) for item in _named(parts.get("template"), _TEXTS)]
    values = [
        f"{etree.QName(item).localname}: {item.text.strip()}"
        for item in _named(parts.get("datasets"), None)
        if len(item) == 0 and item.text and item.text.strip()
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


def _named(root: Any, names: tuple[str, ...] | None) -> list[Any]:
    """Return the elements below a root, in order, that have one of the names."""
    if root is None:
        return []
    elements = (item for item in root.iter() if isinstance(item.tag, str))
    return [x for x in elements if names is None or etree.QName(x).localname in names]


def _visible(item: Any) -> str:
    return " ".join("".join(item.itertext()).split())
