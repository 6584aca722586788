"""The lines of a PDF page, put together from letters and the places where they stand.

PDFium breaks lines where there is none and keeps the order in which a program drew the letters. A
program draws the letters of each font on their own: a dash, a vowel mark or a space may come after
the line that it is in.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from statistics import median
from typing import NamedTuple

from m3rag.documents.pdf.direction import GAP, RIGHT_TO_LEFT, Piece

_SAME_LINE = 0.4  # of the height of a letter; baselines that differ by less are of one line
_NEAR = 3.0  # of the height of a letter; pieces of one baseline within this gap are one line
_TOUCHING = 0.5  # of the height of a letter; what is closer was not meant to be another line
_RAISED = (0.1, 0.8)  # of the height of a letter; how far the number of a note is above its line
_BESIDE = 0.3  # of the height of a letter; how far such a number may be from its line
_FEW = 4  # letters of such a number
_LINE = 1.6  # of the height of a letter; what is further below is no vertical text
_MANY = 8  # letters that show whether they are spread out
_WIDEST = 0.6  # of the height of a letter; the widest gap between letters that are spread out
_SPREAD = 1.6  # of such a gap; what is wider is a space
_BACK = 0.3  # of the height of a letter; a step back of more is out of order
_ASIDE = 0.03  # of the height of a letter; how far the middle of a mark may be off its letter
_SPACELESS = re.compile("[\u2e80-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef]{2}")  # Han, kana
_MARKED = re.compile("[\u0900-\u109f\u1780-\u17ff]")  # Indic and South-East Asian scripts
_TONES = re.compile("[\u0e48-\u0e4c\u0ec8-\u0ecd]")  # of Thai and Lao; they follow the vowel marks


class Letter(NamedTuple):
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


Line = list[Letter]


def text_of(line: Iterable[Letter]) -> str:
    """Return the letters of a line without the spaces between them."""
    return "".join(letter.piece.text for letter in line)


def height_of(line: Iterable[Letter]) -> float:
    """Return the height of the tallest letter."""
    return max((letter.height for letter in line), default=0.0)


def extent(line: Iterable[Letter]) -> tuple[float, float]:
    """Return where a line starts and ends, from left to right."""
    pieces = [letter.piece for letter in line]
    return min(piece.left for piece in pieces), max(piece.right for piece in pieces)


def is_raised(rise: float, gap: float, height: float) -> bool:
    """Return whether a few letters are above or below the end of a line, as those of notes are.

    Args:
        rise: How far their baseline is from that of the line.
        gap: How far they are from the end of the line.
        height: The height of the line.
    """
    low, high = _RAISED
    return low * height < abs(rise) < high * height and abs(gap) < _BESIDE * height


def lines_of(letters: Iterable[Letter | None]) -> list[Line]:
    """Return the letters of each line.

    PDFium breaks lines of right-to-left text in places where there is none, and misses others, so
    the baseline decides.

    Args:
        letters: The letters of a page in PDFium's order; None is the end of a line.
    """
    lines: list[Line] = []
    broken = True
    for letter in letters:
        if letter is None:
            broken = True
            continue
        if lines and _continues(lines[-1], letter, broken=broken):
            lines[-1].append(letter)
        else:
            lines.append([letter])
        broken = False
    return _joined(lines)


def _continues(line: Line, letter: Letter, *, broken: bool) -> bool:
    """Return whether a letter is on the line; `broken`, whether PDFium starts another with it."""
    last = line[-1]
    height = max(last.height, letter.height)
    beside = last.piece.text + letter.piece.text
    if not broken and (beside.isascii() or not RIGHT_TO_LEFT.search(beside)):
        back = letter.piece.left < last.piece.left
        return not back or abs(letter.base - last.base) <= height
    if abs(letter.base - last.base) > _SAME_LINE * height:
        return False
    if not broken:
        return True
    left, right = extent(line)
    gap = max(letter.piece.left - right, left - letter.piece.right)
    if -height < letter.piece.left - right < _TOUCHING * height:
        return True
    return bool(RIGHT_TO_LEFT.search(text_of([*line, letter]))) and gap < _NEAR * height


def _joined(lines: list[Line]) -> list[Line]:
    """Return lines in which the parts of one line that follow each other are one."""
    found: list[Line] = []
    for line in lines:
        if found and _belongs(found[-1], line):
            found[-1] += line
        else:
            found.append(line)
    return found


def _belongs(first: Line, second: Line) -> bool:
    """Return whether two lines are parts of one: of right-to-left text, or the mark of a note."""
    height = max(height_of(first), height_of(second))
    rise = median(x.base for x in first) - median(x.base for x in second)
    (left, right), (start, end) = extent(first), extent(second)
    gap = max(start - right, left - end)
    if min(len(text_of(first)), len(text_of(second))) <= _FEW and is_raised(rise, gap, height):
        return True
    if len(second) == 1 and _is_below(second[0], first[-1]):
        return True
    marked = abs(first[-1].base - median(x.base for x in first)) > _RAISED[0] * height
    if marked and abs(rise) < _RAISED[0] * height and abs(start - right) < _TOUCHING * height:
        return True  # the line goes on after the mark of a note
    right_to_left = RIGHT_TO_LEFT.search(text_of([*first, *second]))
    return bool(right_to_left) and abs(rise) <= _SAME_LINE * height and gap < _NEAR * height


def _is_below(letter: Letter, above: Letter) -> bool:
    """Return whether a letter of Chinese or Japanese follows another in vertical text."""
    if not _SPACELESS.fullmatch(above.piece.text[-1:] + letter.piece.text[:1]):
        return False
    height = max(letter.height, above.height)
    aside = abs(letter.piece.left + letter.piece.right - above.piece.left - above.piece.right) / 2
    return aside < _BESIDE * height and 0 < above.base - letter.base < _LINE * height


def left_to_right(line: Line) -> Line:
    """Return the letters of a left-to-right line in order, with marks at their letters."""
    height = height_of(line)
    groups = _groups([letter for letter in line if not letter.guess])
    moved = _marks_moved(groups, height)
    starts = [group[0].piece.left for group in groups]
    ordered = all(b >= a - _BACK * height for a, b in pairwise(starts))
    bases = [letter.base for letter in line]
    if (ordered and not moved) or max(bases) - min(bases) > height:  # or it is not horizontal
        return line
    if not ordered:
        groups.sort(key=lambda group: group[0].piece.left)
    return [letter for group in groups for letter in group]


def _groups(letters: Sequence[Letter]) -> list[Line]:
    """Return each letter with the marks that follow it."""
    groups: list[Line] = []
    for letter in letters:
        if groups and all(unicodedata.category(c)[0] == "M" for c in letter.piece.text):
            groups[-1].append(letter)
        else:
            groups.append([letter])
    return groups


def _marks_moved(groups: list[Line], height: float) -> bool:
    """Move the marks that stand above another letter to that one, and return whether there are."""
    moves: list[tuple[Letter, Line, Line]] = []
    for group in groups:
        for mark in group[1:]:
            if _MARKED.match(mark.piece.text) and unicodedata.category(mark.piece.text[0]) == "Mn":
                own = [letter for letter in group if letter is not mark]
                if not _above(mark, own, height):
                    others = (g for g in groups if g is not group and _above(mark, g, 0))
                    moves += [(mark, group, home) for home in islice(others, 1)]
    for mark, group, home in moves:
        group.remove(mark)
        home.append(mark)
        home[1:] = sorted(home[1:], key=lambda x: bool(_TONES.match(x.piece.text)))
    return bool(moves)


def _above(mark: Letter, group: Line, height: float) -> bool:
    """Return whether the middle of a mark is above a letter, or above another mark of it."""
    if not group or group[0].piece.text.isspace():
        return False
    left, right = extent(group)
    middle = (mark.piece.left + mark.piece.right) / 2
    return left - _ASIDE * height <= middle <= right + _ASIDE * height


def _space_of(line: Line, height: float) -> float:
    """Return the width of a gap that is a space; the letters of a heading may be spread out."""
    seen = [x for x in line if not x.guess]
    gaps = [b.piece.left - a.piece.right for a, b in pairwise(seen)]
    usual = median(gaps) if len(text_of(seen)) >= _MANY else 0.0
    spread = GAP * height < usual < _WIDEST * height
    return _SPREAD * usual if spread else GAP * height


def spaced(line: Line) -> Iterator[str]:
    """Yield the text of a left-to-right line, with spaces where there are gaps.

    PDFium also puts a space behind a letter whose width it does not know.
    """
    guess, height = False, height_of(line)
    wide = _space_of(line, height)
    before: Line = []
    for letter in line:
        if letter.guess:
            guess = True
            continue
        if before and not letter.piece.text.isspace() and not before[-1].piece.text.isspace():
            gap = letter.piece.left - max(x.piece.right for x in before[-3:])
            if abs(letter.base - before[-1].base) > _SAME_LINE * height or gap < -height:
                yield " " if guess else ""  # another line, or text that is not horizontal
            elif gap > wide and not _SPACELESS.fullmatch(
                before[-1].piece.text[-1:] + letter.piece.text[:1]
            ):
                yield " "
        yield letter.piece.text
        before, guess = [*before[-2:], letter], False
