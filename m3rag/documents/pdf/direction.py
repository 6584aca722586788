"""The logical order of a line that was drawn: right-to-left scripts, numbers and Latin words.

A PDF says where each letter stands, and a line of Arabic or Hebrew stands there from right to left
with its numbers and Latin words from left to right. This is the inverse of what a program did to
draw the line (the Unicode bidirectional algorithm, UAX #9), for the cases that occur in running
text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff]")
"""A character of a script that is written from right to left."""

GAP = 0.12
"""A gap between two letters that is wider than this part of their height is a space."""

_FORMS = re.compile("[\ufb00-\ufb06\ufb13-\ufb17\ufb1d-\ufdff\ufe70-\ufefc]")
_SWAPPED = str.maketrans("()[]{}<>«»‹›", ")(][}{><»«›‹")
_PAIRS = {")": "(", "]": "[", "}": "{"}
_SEPARATORS = {"R": ".,:/+-", "AL": ".,:/"}  # between two digits of one number
_STOPS, _BULLETS = tuple(".,!?؟،؛۔"), tuple("•▪◦")  # what is at the end, and at the start
_FEW_LEFT = 4  # one in so many lines of right-to-left text may look as if it started on the left
_UNITS = "%‰°$€£₪#"  # beside a number, a part of it in Hebrew and not in Arabic


class Piece(NamedTuple):
    """A letter, a ligature, or a word that the file spells out, and where it stands.

    Attributes:
        text: Its text in logical order.
        left: Its left edge.
        right: Its right edge.
        exact: Whether the file spells it out, so that a bracket is what it says.
    """

    text: str
    left: float
    right: float
    exact: bool = False


def plain_forms(text: str) -> str:
    """Return a text with letters in place of ligatures and of the joined forms of Arabic."""
    return _FORMS.sub(lambda form: unicodedata.normalize("NFKC", form[0]).strip(), text)


def _spaced(pieces: Sequence[Piece], height: float) -> list[Piece]:
    """Return the pieces of a line with a space in each gap that is wide enough."""
    found: list[Piece] = []
    for piece in pieces:
        if found and not piece.text.isspace() and not found[-1].text.isspace():
            end = max(before.right for before in found[-3:])
            if piece.left - end > GAP * height:
                found.append(Piece(" ", end, piece.left))
        found.append(piece)
    return found


def lines_in_order(lines: Sequence[tuple[Sequence[Piece], float]]) -> list[str]:
    """Return the text of each line of a page.

    Args:
        lines: The pieces of each line, in any order, and its height.

    Returns:
        The lines in logical order. Programs disagree on whether an opening bracket of a
        right-to-left text is stored as "(" or as it looks, so brackets are taken as stored, or the
        other way round, whichever leaves fewer of the page without a partner.
    """
    drawn = [_spaced(_with_marks(pieces), height) for pieces, height in lines]
    letters = "".join(piece.text for line in drawn for piece in line)
    mostly = mostly_right_to_left(letters)
    turned = _turned(drawn)
    ordered = []
    above: list[Piece] = []  # the line above, if it reads from right to left
    for line, (_, height) in zip(drawn, lines, strict=True):
        base = _base(line, mostly=mostly, turned=turned) or _is_rest(line, above, height)
        ordered.append(_ordered(line, right_to_left=base))
        above = line if base else []
    stored = ["".join(piece.text for piece, _ in line) for line in ordered]
    swapped = ["".join(_swapped(*placed) for placed in line) for line in ordered]
    better = _unmatched("\n".join(swapped)) < _unmatched("\n".join(stored))
    return swapped if better else stored


def _with_marks(pieces: Sequence[Piece]) -> list[Piece]:
    """Return the pieces from left to right, each vowel mark joined to the letter that it is on."""
    letters = sorted((p for p in pieces if not _is_mark(p.text)), key=lambda p: p.left + p.right)
    for mark in (p for p in pieces if _is_mark(p.text)):
        middle = (mark.left + mark.right) / 2
        on = min(
            (i for i, p in enumerate(letters) if not p.text.isspace()),
            key=lambda i: abs(letters[i].left + letters[i].right - 2 * middle),
            default=None,
        )
        if on is None:
            letters.append(mark)
        else:
            letters[on] = letters[on]._replace(text=letters[on].text + mark.text)
    return letters


def _is_mark(text: str) -> bool:
    return all(unicodedata.combining(character) for character in text)


def _kind(piece: Piece) -> str:
    """Return "R", "L" or "N" (a number) for a piece, or "" if it has no direction of its own."""
    for character in piece.text:
        kind = unicodedata.bidirectional(character)
        if kind in ("R", "AL"):
            return "R"
        if kind == "L":
            return "L"
        if kind in ("EN", "AN"):
            return "N"
    return ""


def mostly_right_to_left(text: str) -> bool:
    """Return whether a text has more letters of right-to-left scripts than others."""
    kinds = [unicodedata.bidirectional(character) for character in text]
    return sum(kind in ("R", "AL") for kind in kinds) > kinds.count("L")


def _turned(lines: Sequence[Sequence[Piece]]) -> bool:
    """Return whether right-to-left text is in paragraphs that start on the right.

    Some programs leave it in paragraphs that start on the left, as those of English do. That shows
    where a paragraph ends. Elsewhere a stop at the left end may be within a sentence.
    """
    texts = (line for line in lines if mostly_right_to_left("".join(p.text for p in line)))
    ends = [end for line in texts if (end := _end(line)) is not None]
    return _FEW_LEFT * ends.count(False) <= len(ends)


def _base(line: Sequence[Piece], *, mostly: bool, turned: bool) -> bool:
    """Return whether a line reads from right to left.

    Args:
        line: The line, from left to right.
        mostly: Whether most of the page does.
        turned: Whether its paragraphs in right-to-left scripts do.
    """
    strong = [kind for kind in map(_kind, line) if kind in ("R", "L")]
    most = mostly_right_to_left("".join(piece.text for piece in line))
    end = _end(line)
    if end is False or (end and "L" not in strong):
        return end
    if "R" not in strong:
        return most
    if strong[0] == strong[-1]:
        right = strong[0] == "R"
        return (right and end is True) or (turned and (most or (mostly and right)))
    return mostly and turned


def stops_on_left(pieces: Iterable[Piece]) -> bool:
    """Return whether the piece on the left of a line is a full stop or the like."""
    first = min(pieces, key=lambda piece: piece.left, default=None)
    return first is not None and first.text in _STOPS


def _is_rest(line: Sequence[Piece], above: Sequence[Piece], height: float) -> bool:
    """Return whether a line of Latin words ends the right-to-left sentence of the line above.

    It starts at the same edge on the right, with its stop on the left.
    """
    if not above or not stops_on_left(line) or line[-1].text in _STOPS:
        return False
    return abs(line[-1].right - above[-1].right) < height


def _end(line: Sequence[Piece]) -> bool | None:
    """Return whether a line with right-to-left text ends on the left, by what is at its ends.

    Returns:
        None if its ends do not show it.
    """
    seen = [piece.text for piece in line if not piece.text.isspace()]
    if not seen or not any(_kind(piece) == "R" for piece in line):
        return None
    left = (seen[0] in _STOPS) - (seen[0] in _BULLETS)
    right = (seen[-1] in _STOPS) - (seen[-1] in _BULLETS)
    return None if left == right else left > right


def _ordered(line: list[Piece], *, right_to_left: bool) -> list[tuple[Piece, bool]]:
    """Return the pieces of a line, given from left to right, in logical order.

    With each comes whether it is part of a right-to-left text, in which brackets look reversed.
    """
    ordered: list[tuple[Piece, bool]] = []
    if right_to_left:
        for start, end in reversed(_runs(line)):
            ordered += [(piece, _kind(line[start]) not in ("L", "N")) for piece in line[start:end]]
        return ordered
    kinds = [_kind(piece) for piece in line]
    at = 0
    while at < len(line):
        end = at + 1
        if kinds[at] == "R":
            until = next((i for i in range(at, len(line)) if kinds[i] == "L"), len(line))
            end = max(i for i in range(at, until) if kinds[i] == "R") + 1
            ordered += _ordered(line[at:end], right_to_left=True)
        else:
            ordered.append((line[at], False))
        at = end
    return ordered


def _runs(line: list[Piece]) -> list[tuple[int, int]]:
    """Return the spans of a right-to-left line that keep their order: words, numbers, others."""
    kinds = [_kind(piece) for piece in line]
    arabic = any(unicodedata.bidirectional(c) == "AL" for piece in line for c in piece.text)
    separators = _SEPARATORS["AL" if arabic else "R"]
    units = "" if arabic else _UNITS
    runs: list[tuple[int, int]] = []
    at = 0
    while at < len(line):
        end = at + 1
        if kinds[at] in ("L", "N"):
            latin = kinds[at] == "L"
            following = [i for i in range(at + 1, len(line)) if kinds[i]]
            for before, after in pairwise([at, *following]):
                between = "".join(piece.text for piece in line[before + 1 : after])
                joined = not between or (between in separators and len(between) == 1)
                if kinds[after] == "R" or not (latin or joined or kinds[after] == "L"):
                    break
                latin, end = latin or kinds[after] == "L", after + 1
            if end < len(line) and line[end].text in units and kinds[end - 1] == "N":
                end += 1
            if runs and line[at - 1].text in units and kinds[at] == "N":
                runs.pop()
                at -= 1
        runs.append((at, end))
        at = end
    return runs


def _swapped(piece: Piece, right_to_left: bool) -> str:
    return piece.text.translate(_SWAPPED) if right_to_left and not piece.exact else piece.text


def _unmatched(text: str) -> int:
    """Return how many brackets of a text have no partner."""
    waiting: list[str] = []
    alone = 0
    for character in text:
        if character in "([{":
            waiting.append(character)
        elif character in _PAIRS:
            if waiting and waiting[-1] == _PAIRS[character]:
                waiting.pop()
            else:
                alone += 1
    return alone + len(waiting)
