"""Where a passage stands, as text for people: document, page and headings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def place(document: object, metadata: Mapping[str, Any], headings: Iterable[object] = ()) -> str:
    """Return a place such as "report.pdf, page 3 › Results"; what is empty is left out.

    Args:
        document: The id of the document.
        metadata: The metadata of the passage, which may name its page.
        headings: The titles above the passage, highest first.
    """
    start = ", ".join(str(part) for part in (document, _page(metadata)) if part)
    return " › ".join(str(part) for part in (start, *headings) if part)


def _page(metadata: Mapping[str, Any]) -> str:
    """Return "page 3" or "pages 3–4"; "" if the metadata name no page."""
    label = metadata.get("page_label")
    if isinstance(label, str) and label:
        return f"page {label}"
    page, last = metadata.get("page"), metadata.get("last_page")
    if type(page) is not int:
        return ""
    if "total_pages" in metadata:  # of LangChain's loaders of PDFs, which count from 0
        return f"page {page + 1}"
    return f"pages {page}–{last}" if type(last) is int else f"page {page}"
