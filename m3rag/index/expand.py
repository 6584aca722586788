"""The section around a hit: its passage, widened by the passages before and after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from m3rag.documents import Passage
from m3rag.errors import InputError
from m3rag.index.hit import Hit

_GAP = 100  # characters of white space between two passages; more is text that is not stored


def expand(
    hits: Sequence[Hit], neighbours: int, passages_of: Callable[[str], Sequence[Passage]]
) -> list[Hit]:
    """The hits with widened passages; those whose sections share a character become one.

    Args:
        hits: best first.
        neighbours: how many passages to add on each side.
        passages_of: all stored passages of a document.

    Raises:
        InputError: a negative number of neighbours.
    """
    if isinstance(neighbours, bool) or not isinstance(neighbours, int) or neighbours < 0:
        raise InputError(f"neighbours is a whole number of at least 0, got {neighbours!r}.")
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
        met = [i for i, (_, other) in enumerate(chosen) if _meet(section, other)]
        if not met:
            chosen.append((hit, section))
            continue
        every = {p.id: p for i in met for p in chosen[i][1]} | {p.id: p for p in section}
        chosen[met[0]] = chosen[met[0]][0], sorted(every.values(), key=_place)
        for i in reversed(met[1:]):  # this hit joins sections that were two so far
            del chosen[i]
    return [
        replace(hit, passage=_joined(hit.passage, parts), _explain=None) for hit, parts in chosen
    ]


def _place(passage: Passage) -> tuple[int, int]:
    return passage.start or 0, passage.end or 0


def _around(passage: Passage, document: Sequence[Passage], neighbours: int) -> list[Passage]:
    """The passage with its neighbours, as far as nothing is missing between them."""
    at = next((i for i, other in enumerate(document) if other.id == passage.id), None)
    if at is None:  # deleted since
        return [passage]
    first = last = at
    while first > max(0, at - neighbours) and _touch(document[first - 1], document[first]):
        first -= 1
    stop = min(len(document) - 1, at + neighbours)
    while last < stop and _touch(document[last], document[last + 1]):
        last += 1
    return list(document[first : last + 1])


def _touch(one: Passage, following: Passage) -> bool:
    return _place(following)[0] - _place(one)[1] <= _GAP


def _meet(one: Sequence[Passage], other: Sequence[Passage]) -> bool:
    """Whether two sections of one document share a character."""
    if one[0].document_id is None or one[0].document_id != other[0].document_id:
        return False
    if any(part.start is None for part in (*one, *other)):
        return False
    ends = [max(_place(part)[1] for part in parts) for parts in (one, other)]
    return _place(one[0])[0] < ends[1] and _place(other[0])[0] < ends[0]


def _joined(passage: Passage, parts: Sequence[Passage]) -> Passage:
    """One passage of several, in their order; white space between them keeps its length."""
    if len(parts) == 1:
        return parts[0]
    start, end = _place(parts[0])
    text = parts[0].text
    for part in parts[1:]:
        first, last = _place(part)
        gap = max(0, first - end)
        text += " " * (gap - 2) + "\n" * min(gap, 2) + part.text[max(0, end - first) :]
        end = max(end, last)
    shared = [t for t, *rest in zip(*(p.headings for p in parts), strict=False) if {t} >= {*rest}]
    return replace(passage, text=text, start=start, end=end, headings=tuple(shared))
