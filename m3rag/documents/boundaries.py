"""Where a document may be cut, and how well each place suits."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from m3rag.documents.document import Document
from m3rag.documents.graphemes import tears
from m3rag.documents.lines import Kind, Line, lines
from m3rag.documents.sentences import sentences


class Rank(IntEnum):
    """How well a place suits for a cut; HEADING is for level 6, each level above it adds one."""

    ORPHAN = -1  # right behind a heading, which would be left alone
    WORD = 0  # or any other place that tears no character
    CLAUSE = 1
    SENTENCE = 2
    LINE = 3
    PARAGRAPH = 4
    HEADING = 5


LOWEST_LEVEL = 6
_CLAUSE = re.compile(r"[,;:،؛—–]\s|[、，；：﹐﹑､]")
_SEAM = 64  # characters to go back for a better place


class Layout(NamedTuple):
    """What the lines of a text say.

    Attributes:
        ranks: the rank of a cut before a line, by the line's first character.
        headings: first characters of the headings' lines, ascending.
        behind: first characters of the lines that follow a heading.
        blocks: spans of code blocks, tables and lists, which are better not cut.
    """

    ranks: dict[int, int]
    headings: list[int]
    behind: list[int]
    blocks: list[tuple[int, int]]


class Atoms(NamedTuple):
    """The pieces that passages are put together from: piece i is `text[starts[i]:starts[i + 1]]`.

    Attributes:
        starts: first character of each piece; one more entry, the length of the text.
        ranks: the rank of a cut before each piece.
        tokens: how many tokens of the text stand before each piece; one more entry, all of them.
    """

    starts: list[int]
    ranks: list[int]
    tokens: list[int]


def atoms(document: Document, ends: NDArray[np.int64], limit: int) -> Atoms:
    """Cuts a document at its lines and sentences, and finer where a piece is too large to be moved.

    Args:
        document: any document; its headings in ascending order.
        ends: where each token of the text ends, ascending.
        limit: tokens of a passage; pieces have at most about a quarter of it.
    """
    text = document.text
    layout = lay_out(document)
    ranks = {start: layout.ranks.get(start, Rank.SENTENCE) for start, _ in sentences(text)}
    ranks |= {start: layout.ranks[start] for start in (*layout.headings, *layout.behind)}
    starts = [*sorted(ranks), len(text)]
    counts = np.searchsorted(ends, starts, side="right")
    for i in np.flatnonzero(np.diff(counts) > limit // 4).tolist():
        ranks |= _finer(text, starts[i], starts[i + 1], ends=ends, limit=limit)
    starts = [*sorted(ranks), len(text)]
    tokens: list[int] = np.searchsorted(ends, starts, side="right").tolist()
    tokens[0], tokens[-1] = 0, len(ends)
    found = Atoms(starts, [ranks[start] for start in starts[:-1]], tokens)
    _protect(found, layout.blocks, limit)
    return found


def lay_out(document: Document) -> Layout:
    """Ranks the lines of a document, and finds the blocks that are better not cut."""
    layout = Layout({}, [], [], [])
    levels = {heading.start: heading.level for heading in document.headings}
    waiting = sorted(levels, reverse=True)
    previous: Line | None = None
    block: Kind | None = None
    blank = behind = False
    for line in lines(document.text):
        if line.kind is Kind.BLANK or line.start == line.end:
            blank = blank or line.kind is Kind.BLANK
            continue
        level = 0
        while waiting and waiting[-1] < line.end:
            level = levels[waiting.pop()]
        if level:
            layout.headings.append(line.start)
        if behind:
            layout.behind.append(line.start)
        inside = not level and block is not None and _continues(block, line, blank=blank)
        if inside:
            layout.blocks[-1] = (layout.blocks[-1][0], line.end)
        else:
            block = line.kind if line.kind in (Kind.CODE, Kind.TABLE, Kind.ITEM) else None
            block = None if level else block
            if block:
                layout.blocks.append((line.start, line.end))
        layout.ranks[line.start] = _rank(
            document.text, line, previous, level=level, behind=behind, inside=inside, blank=blank
        )
        behind = bool(level) or (behind and line.kind is Kind.UNDERLINE)
        previous, blank = line, False
    return layout


def _continues(block: Kind, line: Line, *, blank: bool) -> bool:
    """Says whether a line belongs to the code, table or list that the line before belongs to."""
    if block is Kind.ITEM:
        return not blank or line.kind is Kind.ITEM or line.indent >= 2
    return line.kind is block and (block is Kind.CODE or not blank)


def _rank(
    text: str,
    line: Line,
    previous: Line | None,
    *,
    level: int,
    behind: bool,
    inside: bool,
    blank: bool,
) -> int:
    if behind:
        return Rank.ORPHAN
    if level:
        return Rank.HEADING + max(LOWEST_LEVEL - level, 0)
    if inside:
        return Rank.LINE
    if line.kind is Kind.TEXT and previous is not None and previous.kind is Kind.TEXT and not blank:
        return Rank.LINE
    if line.kind is not Kind.TEXT and previous is not None and text[previous.end - 1] in ":：":
        return Rank.CLAUSE  # what announces a list, a table or some code stays with it
    return Rank.PARAGRAPH


def _protect(found: Atoms, blocks: list[tuple[int, int]], limit: int) -> None:
    """Lowers the ranks inside of blocks that fit into one passage as a whole."""
    for start, end in blocks:
        first, last = bisect_left(found.starts, start), bisect_left(found.starts, end)
        if found.tokens[last] - found.tokens[first] <= limit:
            for i in range(first + 1, last):
                found.ranks[i] = min(found.ranks[i], Rank.CLAUSE)


def _finer(
    text: str, start: int, end: int, *, ends: NDArray[np.int64], limit: int
) -> dict[int, int]:
    """Cuts one long piece at its clauses, and clauses that are still long every few words."""
    places = {mark.end(): Rank.CLAUSE for mark in _CLAUSE.finditer(text, start, end - 1)}
    clauses = np.array([start, *places, end])
    counts = np.searchsorted(ends, clauses, side="right")
    step = max(limit // 8, 1)
    found: dict[int, int] = {}
    for i in np.flatnonzero(np.diff(counts) > limit // 4).tolist():
        low = int(clauses[i])
        for target in ends[counts[i] + step - 1 : counts[i + 1] : step].tolist():
            if low < target < clauses[i + 1]:
                low = seam(text, low, target)
                found[low] = Rank.WORD
    found |= places
    return {at: rank for at, rank in _visible(text, found, end) if start < at < end}


def _visible(text: str, found: dict[int, int], end: int) -> Iterator[tuple[int, int]]:
    """Moves cuts before white space behind it, where a piece's first visible character is."""
    seen = 0
    for at in sorted(found):
        place = max(at, seen)
        while place < end and text[place].isspace():
            place += 1
        if place > seen:
            yield place, found[at]
        seen = place


def seam(text: str, low: int, high: int) -> int:
    """Finds the best place for a cut in `(low, high]`, at most a line before `high`.

    Behind white space if there is any, else between two visible characters, else at `high`.
    """
    places = range(high, max(low, high - _SEAM), -1)
    for place in places:
        if text[place - 1].isspace() and not (place < len(text) and tears(text, place)):
            return place
    return next((place for place in places if not tears(text, place)), high)
