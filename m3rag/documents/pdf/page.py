"""The text of a PDF page: PDFium's, put right where PDFium's own order or choice is wrong.

PDFium reads left-to-right text well. Two things it does not do: it returns a word that the file
spells out (`/ActualText`, which browsers write for ligatures and for the clusters of Indic and
South-East Asian scripts) more than once, and it mixes the order of right-to-left lines. Pages with
either are put together again from the places of their letters, and so are pages whose letters
PDFium takes for lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from m3rag.documents.pdf.characters import BULLETS, Characters
from m3rag.documents.pdf.direction import (
    GAP,
    RIGHT_TO_LEFT,
    Piece,
    lines_in_order,
    mostly_right_to_left,
    plain_forms,
)
from m3rag.documents.pdf.parts import parts_of
from m3rag.documents.pdf.spans import Span, Spans
from m3rag.documents.pdf.tables import grids
from m3rag.documents.plain_text import paired, table_text

_SAME_LINE = 0.4  # of the height of a letter; baselines that differ by less are of one line
_NEAR = 3.0  # of the height of a letter; pieces of one baseline within this gap are one line
_SPACELESS = re.compile("[\u2e80-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef]{2}")  # Han, kana
_TOUCHING = 0.5  # of the height of a letter; what is closer was not meant to be another line
_SHORT, _MANY = 2, 6  # letters of a line, and lines, of a page whose letters are scattered
_CONTROL = re.compile("[\0-\x01\x03-\x08\x0b-\x1f\x7f\ufeff]")


class PageText(NamedTuple):
    """The text of a page.

    Attributes:
        text: The text, in which `HYPHEN` stands for a hyphen and the end of its line.
        usable: Whether its letters have a meaning; some files show shapes that stand for nothing.
    """

    text: str
    usable: bool = True


class _Letter(NamedTuple):
    """A piece, with its height and the baseline that it stands on.

    Attributes:
        piece: The piece.
        base: The y of its baseline.
        height: The height of its font.
        guess: Whether it is a space that PDFium put there.
    """

    piece: Piece
    base: float
    height: float
    guess: bool = False


def page_text(page: Any) -> PageText:
    """Return the text of a page of `pypdfium2`; the rows of a ruled table are lines with bars."""
    textpage = page.get_textpage()
    try:
        characters = Characters(textpage)
        usable = characters.usable()
        if not usable:
            return PageText("", usable)
        spans, seen = Spans(page), set[int]()
        parts: list[str] = []
        for part in parts_of(characters, grids(page)):
            if isinstance(part, Characters):
                parts.append(_text(part, spans, seen).strip())
            else:
                parts.append(_table([[_text(cell, spans, seen) for cell in row] for row in part]))
        return PageText("\n".join(filter(str.strip, parts)), usable)
    finally:
        textpage.close()


def _text(characters: Characters, spans: Spans, seen: set[int]) -> str:
    """Return the text of a part of a page; the numbers of spelled-out texts go to `seen`."""
    text = "".join(map(chr, characters.codes)).replace("\r\n", "\n")
    if spans or RIGHT_TO_LEFT.search(text) or _scattered(text):
        text = "\n".join(_put_together(characters, spans, seen))
    return plain_forms(_CONTROL.sub("", paired(text.translate(BULLETS))))


def _scattered(text: str) -> bool:
    """Return whether each letter is a line: PDFium takes a page of one line for vertical text."""
    lines = text.split("\n")
    short = sum(len(line) <= _SHORT for line in lines)
    return short >= _MANY and short > len(lines) / 2


def _table(rows: list[list[str]]) -> str:
    """Return the lines of a table; one in a right-to-left script starts with its right column."""
    if mostly_right_to_left("".join(map("".join, rows))):
        rows = [row[::-1] for row in rows]
    return table_text(rows)


def _put_together(characters: Characters, spans: Spans, seen: set[int]) -> list[str]:
    """Return the lines of a page, with spelled-out text once and right-to-left lines in order."""
    lines = list(_lines(characters, spans, seen))
    for span in spans.others(seen):  # it is drawn as a space, as a joiner of letters may be
        for line in lines:
            if _holds(line, span):
                piece = Piece(span.text, span.left, span.right, exact=True)
                line.append(_Letter(piece, span.base, 0.0))
                break
    turned = [i for i, line in enumerate(lines) if RIGHT_TO_LEFT.search(_letters(line))]
    ordered = lines_in_order(
        [([x.piece for x in lines[i] if not x.guess], _height(lines[i])) for i in turned]
    )
    texts = {i: "".join(_spaced(line)) for i, line in enumerate(lines) if i not in set(turned)}
    texts |= dict(zip(turned, ordered, strict=True))
    return [texts[i].rstrip() for i in range(len(lines))]


def _spaced(line: list[_Letter]) -> Iterator[str]:
    """Yield the text of a left-to-right line, with spaces where there are gaps.

    PDFium also puts a space behind a letter whose width it does not know.
    """
    guess, height = False, _height(line)
    before: list[_Letter] = []
    for letter in line:
        if letter.guess:
            guess = True
            continue
        if before and not letter.piece.text.isspace() and not before[-1].piece.text.isspace():
            gap = letter.piece.left - max(x.piece.right for x in before[-3:])
            if abs(letter.base - before[-1].base) > _SAME_LINE * height or gap < -height:
                yield " " if guess else ""  # another line, or text that is not horizontal
            elif gap > GAP * height and not _SPACELESS.fullmatch(
                before[-1].piece.text[-1:] + letter.piece.text[:1]
            ):
                yield " "
        yield letter.piece.text
        before, guess = [*before[-2:], letter], False


def _letters(line: list[_Letter]) -> str:
    return "".join(letter.piece.text for letter in line)


def _height(line: list[_Letter]) -> float:
    return max((letter.height for letter in line), default=0.0)


def _holds(line: list[_Letter], span: Span) -> bool:
    """Return whether spelled-out text stands within a right-to-left line."""
    if abs(line[0].base - span.base) > _SAME_LINE * _height(line):
        return False
    left, right = min(x.piece.left for x in line), max(x.piece.right for x in line)
    return left <= span.left <= right and bool(RIGHT_TO_LEFT.search(_letters(line)))


def _lines(characters: Characters, spans: Spans, seen: set[int]) -> Iterator[list[_Letter]]:
    """Yield the letters of each line.

    PDFium breaks lines of right-to-left text in places where there is none, and misses others, so
    the baseline decides.
    """
    line: list[_Letter] = []
    broken = False
    for letter in _all_letters(characters, spans, seen):
        if letter is None:
            broken = True
            continue
        if line and not _continues(line, letter, broken=broken):
            yield line
            line = []
        line.append(letter)
        broken = False
    if line:
        yield line


def _continues(line: list[_Letter], letter: _Letter, *, broken: bool) -> bool:
    """Return whether a letter is on the line; `broken`, whether PDFium starts another with it."""
    last = line[-1]
    height = max(last.height, letter.height)
    if not broken and not RIGHT_TO_LEFT.search(last.piece.text + letter.piece.text):
        return True
    if abs(letter.base - last.base) > _SAME_LINE * height:
        return False
    if not broken:
        return True
    left, right = min(x.piece.left for x in line), max(x.piece.right for x in line)
    gap = max(letter.piece.left - right, left - letter.piece.right)
    if -height < letter.piece.left - right < _TOUCHING * height:
        return True
    return bool(RIGHT_TO_LEFT.search(_letters([*line, letter]))) and gap < _NEAR * height


def _all_letters(characters: Characters, spans: Spans, seen: set[int]) -> Iterator[_Letter | None]:
    """Yield the letters of a page in PDFium's order; None is the end of a line.

    The numbers of the spelled-out texts among them are added to `seen`.
    """
    before: tuple[int | None, float, float] | None = None
    letter: _Letter | None = None  # waits, because the next may be a part of the same shape
    for i, code in enumerate(characters.codes):
        if code == 13:
            continue
        if code == 10:
            yield from (letter, None) if letter else (None,)
            letter = before = None
            continue
        place = (characters.owner(i), *characters.origin(i))
        left, right, height = characters.box(i)
        same = before is not None and place[1:] == before[1:]
        if code == 32 and (same or place[0] is None or left == right):
            if letter:
                yield letter
                yield _Letter(Piece(" ", place[1], place[1]), place[2], 0.0, guess=True)
                letter = None
            continue
        found = spans.of(place[0])
        if found:
            key, span = found
            if key in seen:
                before = place
                continue
            seen.add(key)
            piece = Piece(plain_forms(span.text), span.left, span.right, exact=True)
        elif same and letter and place == before and RIGHT_TO_LEFT.match(chr(code)):
            # Two letters of one ligature: PDFium reversed them with their line.
            letter = letter._replace(
                piece=letter.piece._replace(text=chr(code) + letter.piece.text)
            )
            continue
        else:
            piece = Piece(plain_forms(chr(code)), left, right)
        if letter:
            yield letter
        letter, before = _Letter(piece, place[2], height), place
    if letter:
        yield letter
