"""What a language model reads of the passages that a tool has found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any, NamedTuple

from m3rag.documents.document import with_header
from m3rag.documents.places import place

TABLE_HEADER = "table_header"
"""The key of metadata for `Passage.table_header`."""

NOTHING = "No passage was found. Search in other words, or say that you do not know."
"""What a language model reads if nothing was found."""


class Found(NamedTuple):
    """A passage that was found.

    Attributes:
        document: The id of its document, if it has one.
        metadata: Its metadata, with its page and the header of its table.
        headings: The titles above it, highest first.
        text: Its text.
    """

    document: object
    metadata: Mapping[str, Any]
    headings: Iterable[object]
    text: str


def numbered(passages: Iterable[Found], numbers: Iterable[int] | None = None) -> str:
    """Return passages as one text, with their numbers and places.

    Args:
        passages: The passages.
        numbers: The number of each passage; by default they count from 1.
    """
    parts = []
    for number, (document, metadata, headings, text) in zip(
        numbers or count(1), passages, strict=False
    ):
        start = f"[{number}] {place(document, metadata, headings)}".rstrip()
        parts.append(f"{start}\n{full_text(text, metadata)}")
    return "\n\n".join(parts) or NOTHING


def full_text(text: str, metadata: Mapping[str, Any]) -> str:
    """Return a text below the header of its table, if the metadata have one."""
    return with_header(metadata.get(TABLE_HEADER), text)
