"""The places where a document can be cut, and how suitable each of them is."""

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
    """How suitable a place is for a cut; HEADING is level 6, and each higher level adds one."""

    ORPHAN = -1  # directly after a heading, which would be left alone
    WORD = 0  # or any other place that splits no character
    CLAUSE = 1
    SENTENCE = 2
    LINE = 3
    PARAGRAPH = 4
    HEADING = 5


LOWEST_LEVEL = 6
_CLAUSE = re.compile(r"[,;:،؛—–]\s|[、，；：﹐﹑､]")
_MAX_SHIFT = 64  # characters to search backwards for a better place


class Layout(NamedTuple):
    """The structure that the lines of a text show.

    Attributes:
        ranks: The rank of a cut before a line, by the position of the line's first character.
        headings: The first characters of the heading lines, ascending.
        after_heading: The first characters of the lines that follow a heading.
        blocks: The spans of code blocks, tables and lists, which should stay whole.
    """

    ranks: dict[int, int]
    headings: list[int]
    after_heading: list[int]
    blocks: list[tuple[int, int]]


class Atoms(NamedTuple):
    """The pieces that passages are built from; piece i is `text[starts[i]:starts[i + 1]]`.

    Attributes:
        starts: The first character of each piece, then the length of the text.
        ranks: The rank of a cut before each piece.
        tokens: The number of tokens before each piece, then the number of all tokens.
    """

    starts: list[int]
    ranks: list[int]
    tokens: list[int]


def atoms(document: Document, ends: NDArray[np.int64], limit: int) -> Atoms:
    """Cut a document at its lines and sentences, and cut pieces that are too large further.

    Args:
        document: Any document, with its headings in ascending order.
        ends: The end position of each token of the text, ascending.
        limit: The number of tokens in a passage; a piece has at most about a quarter of it.
    """
    text = document.text
    layout = lay_out(document)
    ranks = {start: layout.ranks.get(start, Rank.SENTENCE) for start, _ in sentences(text)}
    ranks |= {start: layout.ranks[start] for start in (*layout.headings, *layout.after_heading)}
    starts = [*sorted(ranks), len(text)]
    counts = np.searchsorted(ends, starts, side="right")
    for i in np.flatnonzero(np.diff(counts) > limit // 4).tolist():
        ranks |= _finer(text, starts[i], starts[i + 1], ends=ends, limit=limit)
    starts = [*sorted(ranks), len(text)]
    tokens: list[int] = np.searchsorted(ends, starts, side="right").tolist()
    tokens[0], tokens[-1] = 0, len(ends)
    pieces = Atoms(starts, [ranks[start] for start in starts[:-1]], tokens)
    _protect(pieces, layout.blocks, limit)
    return pieces


def lay_out(document: Document) -> Layout:
    """Rank the lines of a document, and find the blocks that should stay whole."""
    layout = Layout({}, [], [], [])
    levels = {heading.start: heading.level for heading in document.headings}
    waiting = sorted(levels, reverse=True)
    previous: Line | None = None
    block: Kind | None = None
    blank = after_heading = False
    for line in lines(document.text):
        if line.kind is Kind.BLANK or line.start == line.end:
            blank = blank or line.kind is Kind.BLANK
            continue
        level = 0
        while waiting and waiting[-1] < line.end:
            level = levels[waiting.pop()]
        if level:
            layout.headings.append(line.start)
        if after_heading:
            layout.after_heading.append(line.start)
        inside = not level and block is not None and _continues(block, line, blank=blank)
        if inside:
            layout.blocks[-1] = (layout.blocks[-1][0], line.end)
        else:
            block = line.kind if line.kind in (Kind.CODE, Kind.TABLE, Kind.ITEM) else None
            block = None if level else block
            if block:
                layout.blocks.append((line.start, line.end))
        layout.ranks[line.start] = _rank(
            document.text,
            line,
            previous,
            level=level,
            after_heading=after_heading,
            inside=inside,
            blank=blank,
        )
        after_heading = bool(level) or (after_heading and line.kind is Kind.UNDERLINE)
        previous, blank = line, False
    return layout


def _continues(block: Kind, line: Line, *, blank: bool) -> bool:
    """Return whether a line continues the code block, table or list of the line before it."""
    if block is Kind.ITEM:
        return not blank or line.kind is Kind.ITEM or line.indent >= 2
    return line.kind is block and (block is Kind.CODE or not blank)


def _rank(
    text: str,
    line: Line,
    previous: Line | None,
    *,
    level: int,
    after_heading: bool,
    inside: bool,
    blank: bool,
) -> int:
    if after_heading:
        return Rank.ORPHAN
    if level:
        return Rank.HEADING + max(LOWEST_LEVEL - level, 0)
    if inside:
        return Rank.LINE
    if line.kind is Kind.TEXT and previous is not None and previous.kind is Kind.TEXT and not blank:
        return Rank.LINE
    if line.kind is not Kind.TEXT and previous is not None and text[previous.end - 1] in ":：":
        return Rank.CLAUSE  # a line that introduces a list, a table or code stays with it
    return Rank.PARAGRAPH


def _protect(pieces: Atoms, blocks: list[tuple[int, int]], limit: int) -> None:
    """Lower the ranks inside blocks that fit into one passage as a whole."""
    for start, end in blocks:
        first, last = bisect_left(pieces.starts, start), bisect_left(pieces.starts, end)
        if pieces.tokens[last] - pieces.tokens[first] <= limit:
            for i in range(first + 1, last):
                pieces.ranks[i] = min(pieces.ranks[i], Rank.CLAUSE)


def _finer(
    text: str, start: int, end: int, *, ends: NDArray[np.int64], limit: int
) -> dict[int, int]:
    """Cut a long piece at its clauses, and clauses that are still long every few words."""
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
    """Move each cut past white space, to the next visible character."""
    seen = 0
    for at in sorted(found):
        place = max(at, seen)
        while place < end and text[place].isspace():
            place += 1
        if place > seen:
            yield place, found[at]
        seen = place


def seam(text: str, low: int, high: int) -> int:
    """Return the best place for a cut in `(low, high]`, within 64 characters of `high`.

    The place is after white space if there is any, else between two visible characters, else at
    `high`.
    """
    places = range(high, max(low, high - _MAX_SHIFT), -1)
    for place in places:
        if text[place - 1].isspace() and not (place < len(text) and tears(text, place)):
            return place
    return next((place for place in places if not tears(text, place)), high)
