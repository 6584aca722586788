"""Checks the citations and quotations of a written answer against its passages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from m3rag.answers.quotations import Quote, find_quotes
from m3rag.errors import AnswerError
from m3rag.limits import DEFAULT_LIMITS, Limits

# Possessive quantifiers (`++`) never backtrack, so every match takes linear time.
_BRACKET = re.compile(r"[\[【［\]】］]")
_OPENERS = frozenset("[【［")
# What is between the brackets of "[1]", "[1, 2]", "[1-3]"; the digits may be of any script.
_CITED = re.compile(r"\s*+\d++(?:\s*+[,;，、–-]\s*+\d++)*+\s*+")
_RANGE = re.compile(r"(\d++)(?:\s*+[–-]\s*+(\d++))?+")
_LONGEST_RANGE = 100
_LONGEST_NUMBER = 18  # digits
_HIGHEST_NUMBER = 999_999_999_999_999_999
_EXPANDED = 100_000  # numbers that the ranges of one answer stand for


@dataclass(frozen=True, slots=True)
class Checked:
    """A written answer after the check.

    Attributes:
        text: The answer without citations of passages that do not exist; others are "[1][2]".
        cited: The numbers of the cited passages, in the order of their first citation.
        removed: The cited numbers that do not match a passage, ascending. A number of more than 18
            digits counts as the highest one of 18 digits.
        quotes: The quotations.
    """

    text: str
    cited: tuple[int, ...]
    removed: tuple[int, ...]
    quotes: tuple[Quote, ...]


def check(text: str, passages: Sequence[str], limits: Limits = DEFAULT_LIMITS) -> Checked:
    """Check an answer against the passages, which are numbered from 1.

    The time is linear in the length of the answer.

    Raises:
        AnswerError: The answer is too long, or has too many quotations for passages as long.
    """
    if error := too_long(text, limits):
        raise error
    cleaning = _Cleaning(len(passages))
    cleaned = cleaning.clean(text)
    return Checked(
        text=cleaned,
        cited=tuple(dict.fromkeys(number for _, number in cleaning.cited)),
        removed=tuple(sorted(cleaning.removed)),
        quotes=tuple(find_quotes(cleaned, passages, cleaning.cited)),
    )


def too_long(text: str, limits: Limits) -> AnswerError | None:
    """Return an error if an answer is longer than the limit."""
    if len(text) <= limits.answer_characters:
        return None
    return AnswerError(
        f"The answer has {len(text):,} characters, more than the limit of "
        f"{limits.answer_characters:,}. Ask for a shorter one, or raise the limit "
        "`answer_characters`."
    )


class _Cleaning:
    """One pass over an answer that removes and normalizes its citations.

    Attributes:
        cited: The offsets and numbers of the citations in the cleaned text, ascending.
        removed: The cited numbers that do not match a passage.
    """

    def __init__(self, passages: int) -> None:
        self.cited: list[tuple[int, int]] = []
        self.removed: set[int] = set()
        self._valid = range(1, passages + 1)
        self._pieces: list[str] = []  # of the cleaned text; each bracket is one
        self._length = 0  # of the pieces
        self._opened: list[int] = []  # the pieces that are brackets and may still open a citation
        self._expanded = 0

    def clean(self, text: str) -> str:
        """Return the text as if citations were replaced until none is left to replace.

        In "[[9]9]", the outer brackets are a citation once the inner ones are removed. A bracket
        that stays ends the hopes of all brackets before it, so that each piece is looked at once.
        """
        done = 0
        for bracket in _BRACKET.finditer(text):
            self._add(text[done : bracket.start()])
            done = bracket.end()
            if bracket[0] in _OPENERS:
                self._opened.append(len(self._pieces))
                self._add(bracket[0])
            else:
                self._close(bracket[0])
        self._add(text[done:])
        cleaned = "".join(self._pieces)
        before = len(cleaned) - len(cleaned.lstrip())
        self.cited = [(offset - before, number) for offset, number in self.cited]
        return cleaned.strip()

    def _add(self, piece: str) -> None:
        if piece:
            self._pieces.append(piece)
            self._length += len(piece)

    def _close(self, bracket: str) -> None:
        if not self._opened:
            self._add(bracket)
            return
        opened = self._opened[-1]
        inside = "".join(self._pieces[opened + 1 :])
        if not _CITED.fullmatch(inside):
            self._opened.clear()
            self._add(bracket)
            return
        del self._pieces[opened:]
        self._length -= len(inside) + 1
        numbers = dict.fromkeys(self._numbers(inside))
        kept = [number for number in numbers if number in self._valid]
        if len(kept) < len(numbers):
            self.removed.update(number for number in numbers if number not in self._valid)
        if not kept:
            self._opened.pop()
            self._remove_blanks()
            return
        self._opened.clear()
        for number in kept:
            self.cited.append((self._length, number))
            self._add(f"[{number}]")

    def _remove_blanks(self) -> None:
        while self._pieces:
            piece = self._pieces.pop()
            stripped = piece.rstrip(" \t")
            self._length -= len(piece) - len(stripped)
            if stripped:
                self._pieces.append(stripped)
                return

    def _numbers(self, inside: str) -> Iterator[int]:
        """Yield the numbers between the brackets of a citation, with those that ranges stand for.

        A range of more than 100 numbers, or the ranges after 100,000 numbers, stand for their ends.
        """
        for part in _RANGE.finditer(inside):
            first = _number(part[1])
            yield first
            if not part[2]:
                continue
            last = _number(part[2])
            between = range(first + 1, last)
            if len(between) < _LONGEST_RANGE - 1 and self._expanded < _EXPANDED:
                self._expanded += len(between)
                yield from between
            yield last


def _number(digits: str) -> int:
    """Return the value of decimal digits, or the highest of 18 digits if it has more."""
    if len(digits) <= _LONGEST_NUMBER:
        return int(digits)
    if any(map(unicodedata.decimal, digits[:-_LONGEST_NUMBER])):
        return _HIGHEST_NUMBER
    return int(digits[-_LONGEST_NUMBER:])
