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
    RIGHT_TO_LEFT,
    Piece,
    lines_in_order,
    mostly_right_to_left,
    plain_forms,
    stops_on_left,
)
from m3rag.documents.pdf.lines import (
    Letter,
    Line,
    extent,
    height_of,
    is_raised,
    left_to_right,
    lines_of,
    spaced,
    text_of,
)
from m3rag.documents.pdf.open_tables import open_grids
from m3rag.documents.pdf.parts import parts_of
from m3rag.documents.pdf.spans import Span, Spans
from m3rag.documents.pdf.tables import grids
from m3rag.documents.plain_text import paired, table_text

_SAME_LINE = 0.4  # of the height of a letter; baselines that differ by less are of one line
_STEP = 1.0  # points
_SHORT, _MANY = 2, 6  # letters of a line, and lines, of a page whose letters are scattered
_BULLET = re.compile("^[\ue000-\uf8ff](?=[ \t])", re.MULTILINE)  # of a symbol font
_SPREAD = re.compile(r"^(?:\S ){6,}\S? *$|^(?:[\u3000-\u9fff]\n){3}", re.MULTILINE)
_FORMS = 0xFB00  # the first of the characters that stand for the shapes of others
_CONTROL = re.compile("[\0-\x01\x03-\x08\x0b-\x1f\x7f\ufeff]")


class PageText(NamedTuple):
    """The text of a page.

    Attributes:
        text: The text, in which `HYPHEN` stands for a hyphen and the end of its line.
        usable: Whether its letters have a meaning; some files show shapes that stand for nothing.
    """

    text: str
    usable: bool = True


def page_text(page: Any) -> PageText:
    """Return the text of a page of `pypdfium2`; the rows of a table are lines with bars."""
    textpage = page.get_textpage()
    try:
        characters = Characters(textpage)
        usable = characters.usable()
        if not usable:
            return PageText("", usable)
        spans, seen = Spans(page, characters.frame), set[int]()
        characters.place_in_forms(spans)
        together = bool(spans) or _scattered(characters)
        parts: list[str] = []
        ruled = grids(page, characters.frame)
        for part in parts_of(characters, [*ruled, *open_grids(characters, ruled)]):
            if isinstance(part, Characters):
                parts.append(_text(part, spans, seen, together=together).strip())
            else:
                cells = [[_text(x, spans, seen, together=together) for x in row] for row in part]
                parts.append(_table(cells))
        return PageText("\n".join(filter(str.strip, parts)), usable)
    finally:
        textpage.close()


def _text(characters: Characters, spans: Spans, seen: set[int], *, together: bool) -> str:
    """Return the text of a part of a page.

    Args:
        characters: The part.
        spans: The spelled-out texts of the page.
        seen: The numbers of those that were read; more are added.
        together: Whether PDFium's lines cannot be used as they are.
    """
    text = "".join(map(chr, characters.codes)).replace("\r\n", "\n")
    if together or RIGHT_TO_LEFT.search(text) or _disordered(characters):
        text = "\n".join(_put_together(characters, spans, seen))
    text = _BULLET.sub("•", text.translate(BULLETS))
    return plain_forms(_CONTROL.sub("", paired(text)))


def _scattered(characters: Characters) -> bool:
    """Return whether each letter is a line: PDFium takes a page of one line for vertical text."""
    lines = "".join(map(chr, characters.codes)).replace("\r\n", "\n").split("\n")
    short = sum(len(line) <= _SHORT for line in lines)
    return short >= _MANY and short > len(lines) / 2


def _disordered(characters: Characters) -> bool:
    """Return whether a line has a step back, or is broken before the number of a note."""
    codes = characters.codes
    before: tuple[int, float, float] | None = None  # the last letter and where it is
    broken = False
    for i, code in enumerate(codes):
        if code in (10, 13):
            broken = True
        if code <= 32:
            continue
        x, y = characters.origin(i)
        if before:
            j, last_x, last_y = before
            if broken:
                _, right, height = characters.box(j)
                if is_raised(y - last_y, x - right, height):
                    return True
            elif last_x - x > _STEP and abs(y - last_y) < _STEP:
                return True
        before, broken = (i, x, y), False
    return False


def _table(rows: list[list[str]]) -> str:
    """Return the lines of a table; one in a right-to-left script starts with its right column."""
    if mostly_right_to_left("".join(map("".join, rows))):
        rows = [row[::-1] for row in rows]
    return table_text(rows)


def _put_together(characters: Characters, spans: Spans, seen: set[int]) -> list[str]:
    """Return the lines of a page, with spelled-out text once and right-to-left lines in order."""
    lines = lines_of(_all_letters(characters, spans, seen))
    for span in spans.others(seen):  # it is drawn as a space, as a joiner of letters may be
        for line in lines:
            if _holds(line, span):
                piece = Piece(span.text, span.left, span.right, exact=True)
                line.append(Letter(piece, span.base, 0.0))
                break
    rights = [bool(RIGHT_TO_LEFT.search(text_of(line))) for line in lines]
    turned = [
        i
        for i, (right, before) in enumerate(zip(rights, [False, *rights], strict=False))
        if right or (before and stops_on_left(x.piece for x in lines[i]))
    ]
    ordered = lines_in_order(
        [([x.piece for x in lines[i] if not x.guess], height_of(lines[i])) for i in turned]
    )
    right_to_left = dict(zip(turned, ordered, strict=True))
    return [
        (right_to_left[i] if i in right_to_left else "".join(spaced(left_to_right(line)))).strip()
        for i, line in enumerate(lines)
    ]


def _holds(line: Line, span: Span) -> bool:
    """Return whether spelled-out text stands within a right-to-left line."""
    if abs(line[0].base - span.base) > _SAME_LINE * height_of(line):
        return False
    left, right = extent(line)
    return left <= span.left <= right and bool(RIGHT_TO_LEFT.search(text_of(line)))


def _all_letters(characters: Characters, spans: Spans, seen: set[int]) -> Iterator[Letter | None]:
    """Yield the letters of a page in PDFium's order; None is the end of a line.

    The numbers of the spelled-out texts among them are added to `seen`.
    """
    before: tuple[int | None, float, float] | None = None
    letter: Letter | None = None  # waits, because the next may be a part of the same shape
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
                end = letter.piece.right
                yield Letter(Piece(" ", end, end), letter.base, 0.0, guess=True)
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
            text = chr(code)
            piece = Piece(text if code < _FORMS else plain_forms(text), left, right)
        if letter:
            yield letter
        letter, before = Letter(piece, place[2], height), place
    if letter:
        yield letter
