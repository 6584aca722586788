"""What a language model reads of the passages that a tool has found."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

NOTHING = "No passage was found. Search in other words, or say that you do not know."
"""What a language model reads if nothing was found."""


def numbered(
    passages: Iterable[tuple[Iterable[object], str]], numbers: Iterable[int] | None = None
) -> str:
    """Return passages as one text, with their numbers and places.

    Args:
        passages: The place and the text of each passage. A place is the document and the headings
            above the passage; what is empty is left out.
        numbers: The number of each passage; by default they count from 1.
    """
    parts = []
    for number, (titles, text) in zip(numbers or count(1), passages, strict=False):
        place = " › ".join(str(title) for title in titles if title)
        parts.append(f"[{number}] {place}".rstrip() + f"\n{text}")
    return "\n\n".join(parts) or NOTHING
