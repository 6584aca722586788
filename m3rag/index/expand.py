"""Widen hits to sections: the passage with its neighbours in the document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from m3rag.documents import Passage
from m3rag.index.hit import Hit
from m3rag.limits import check_count

GAP = 100
"""The longest white space, in characters, between two passages that touch."""


def expand(
    hits: Sequence[Hit], neighbours: int, passages_of: Callable[[str], Sequence[Passage]]
) -> list[Hit]:
    """Return the hits with widened passages; hits whose sections overlap become one.

    Args:
        hits: The hits, best first.
        neighbours: The number of passages to add on each side.
        passages_of: Returns all stored passages of a document.

    Raises:
        InputError: `neighbours` is negative or not an integer.
    """
    check_count("neighbours", neighbours, least=0)
    documents: dict[str, list[Passage]] = {}
    chosen: list[tuple[Hit, list[Passage]]] = []
    for hit in hits:
        name = hit.passage.document_id
        if name is None or hit.passage.start is None or hit.passage.end is None:
            chosen.append((hit, [hit.passage]))
            continue
        if name not in documents:
            placed = [p for p in passages_of(name) if p.start is not None and p.end is not None]
            documents[name] = sorted(placed, key=_place)
        section = _around(hit.passage, documents[name], neighbours)
        overlapping = [i for i, (_, other) in enumerate(chosen) if _overlap(section, other)]
        if not overlapping:
            chosen.append((hit, section))
            continue
        merged = {p.id: p for i in overlapping for p in chosen[i][1]} | {p.id: p for p in section}
        best = overlapping[0]
        chosen[best] = chosen[best][0], sorted(merged.values(), key=_place)
        for i in reversed(overlapping[1:]):  # this section joins several earlier ones
            del chosen[i]
    return [
        replace(hit, passage=_joined(hit.passage, parts), _explain=None) for hit, parts in chosen
    ]


def added_text(passage: Passage, end: int) -> str:
    """Return what a passage adds to a text that ends at `end`; white space keeps its length."""
    start, _ = _place(passage)
    gap = max(0, start - end)
    return " " * (gap - 2) + "\n" * min(gap, 2) + passage.text[max(0, end - start) :]


def _place(passage: Passage) -> tuple[int, int]:
    return passage.start or 0, passage.end or 0


def _around(passage: Passage, document: Sequence[Passage], neighbours: int) -> list[Passage]:
    """Return the passage with its neighbours, up to the first gap on each side."""
    at = next((i for i, other in enumerate(document) if other.id == passage.id), None)
    if at is None:  # deleted meanwhile
        return [passage]
    first = last = at
    while first > max(0, at - neighbours) and _touch(document[first - 1], document[first]):
        first -= 1
    stop = min(len(document) - 1, at + neighbours)
    while last < stop and _touch(document[last], document[last + 1]):
        last += 1
    return list(document[first : last + 1])


def _touch(passage: Passage, following: Passage) -> bool:
    return _place(following)[0] - _place(passage)[1] <= GAP


def _overlap(first: Sequence[Passage], second: Sequence[Passage]) -> bool:
    """Return whether two sections of the same document share a character."""
    if first[0].document_id is None or first[0].document_id != second[0].document_id:
        return False
    if any(part.start is None for part in (*first, *second)):
        return False
    ends = [max(_place(part)[1] for part in parts) for parts in (first, second)]
    return _place(first[0])[0] < ends[1] and _place(second[0])[0] < ends[0]


def _joined(passage: Passage, parts: Sequence[Passage]) -> Passage:
    """Join passages, in order, to one; white space between them keeps its length."""
    if len(parts) == 1:
        return parts[0]
    start, end = _place(parts[0])
    text = parts[0].text
    for part in parts[1:]:
        text += added_text(part, end)
        end = max(end, _place(part)[1])
    shared = [t for t, *rest in zip(*(p.headings for p in parts), strict=False) if {t} >= {*rest}]
    return replace(
        passage,
        text=text,
        metadata={**passage.metadata, **_pages(parts)},
        start=start,
        end=end,
        headings=tuple(shared),
        table_header=parts[0].table_header,
    )


def _pages(parts: Sequence[Passage]) -> dict[str, Any]:
    """Return the pages that passages, in order, are on; nothing if they have none."""
    first, after = parts[0].metadata.get("page"), parts[-1].metadata
    if first is None:
        return {}
    last = after.get("last_page", after.get("page"))
    return {"page": first} | ({} if last == first else {"last_page": last})
