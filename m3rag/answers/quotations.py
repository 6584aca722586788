"""Finds the quotations of a written answer and looks them up in the passages it cites."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from m3rag.documents import sentences
from m3rag.errors import AnswerError

# The mark that closes a quotation, by the one that opens it.
_CLOSED_BY = {
    '"': '"', "“": "”", "„": "“", "”": "”", "«": "»", "»": "«", "「": "」", "『": "』",
}  # fmt: skip
_OPENING = re.compile(f"[{''.join(_CLOSED_BY)}]")
_CITATIONS = re.compile(r"(?:\s*+\[\d++\])++[.。।]?")  # as they are after the check
_OMISSION = re.compile(r"[\[(]?(?:…|\.\.\.)[\])]?")
# Punctuation that a quotation may have at its ends although the passage does not.
_ADDED = " \t\n.,;:!?。，、；：！？।؟،"
_WORK = 1_000_000_000  # characters of passages that the quotations of one answer are looked up in
_LOOKUP = 200  # characters that could be searched in the time that it takes to start one search


@dataclass(frozen=True, slots=True)
class Quote:
    """A quotation in an answer.

    Attributes:
        text: The text between the quotation marks.
        numbers: The numbers of the passages that its sentence cites, or of all passages that the
            answer cites if the sentence cites none.
        found: Whether one of them contains the text. White space is ignored, and "…" matches any
            omitted text.
    """

    text: str
    numbers: tuple[int, ...]
    found: bool


def find_quotes(
    text: str, passages: Sequence[str], cited: Sequence[tuple[int, int]]
) -> Iterator[Quote]:
    """Yield the quotations of an answer, each looked up in the passages that are cited for it.

    Args:
        text: The answer, in which each citation is "[1]".
        passages: The passages, numbered from 1.
        cited: The offsets and numbers of the citations, ascending.

    Raises:
        AnswerError: Looking the quotations up in these passages would take too long.
    """
    spans = list(_quotations(text))
    if not spans:
        return
    around = _Around(text, cited)
    lookup = _Lookup(passages)
    for start, end in spans:
        quoted = text[start:end]
        numbers = around.numbers(start - 1, end + 1)
        yield Quote(quoted, numbers, lookup.found(quoted, numbers))


def _quotations(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans between quotation marks; at least one character is between them."""
    following: dict[str, int] = {}  # the next position of a mark, looked for once

    def next_of(mark: str, start: int) -> int:
        position = following.get(mark, -1)
        if position < start:
            position = text.find(mark, start)
            position = following[mark] = position if position >= 0 else len(text)
        return position

    done = 0
    for opening in _OPENING.finditer(text):
        start = opening.end()
        if start <= done:
            continue
        mark = opening[0]
        end = next_of(_CLOSED_BY[mark], start)
        if mark == "„":  # German ends with “, Polish with ”
            end = min(end, next_of("”", start))
        elif mark == '"' and next_of("\n", start) < end:
            continue
        if start < end < len(text):
            yield start, end
            done = end + 1


class _Around:
    """The numbers that are cited in the sentences around a place in an answer."""

    def __init__(self, text: str, cited: Sequence[tuple[int, int]]) -> None:
        self._offsets = [offset for offset, _ in cited]
        self._cited = [number for _, number in cited]
        self._all = tuple(dict.fromkeys(self._cited))
        self._known = {self._all: self._all}  # equal tuples are one object
        spans = list(_statements(text))
        self._starts = [start for start, _ in spans]
        self._ends = [end for _, end in spans]
        self._last: tuple[tuple[int, int], tuple[int, ...]] = ((-1, -1), ())

    def numbers(self, start: int, end: int) -> tuple[int, ...]:
        """Return the numbers, or all numbers of the answer if these sentences cite none."""
        first = bisect_right(self._ends, start)
        last = bisect_left(self._starts, end) - 1
        if first > last:
            return self._all
        if self._last[0] != (first, last):  # the next quotation is often in the same sentence
            low = bisect_left(self._offsets, self._starts[first])
            high = bisect_left(self._offsets, self._ends[last])
            found = tuple(dict.fromkeys(self._cited[low:high])) or self._all
            self._last = (first, last), self._known.setdefault(found, found)
        return self._last[1]


def _statements(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of sentences, each with the citations that follow its full stop."""
    last = 0
    for start, end in sentences(text):
        start = max(start, last)
        if start >= end:  # it consists of the citations of the sentence before
            continue
        citations = _CITATIONS.match(text, end)
        last = citations.end() if citations else end
        yield start, last


class _Lookup:
    """Looks quotations up in passages, as long as that does not take too long."""

    def __init__(self, passages: Sequence[str]) -> None:
        self._passages = passages
        self._words: dict[int, str] = {}
        self._found: dict[tuple[str, int], bool] = {}
        self._left = _WORK

    def found(self, quoted: str, numbers: tuple[int, ...]) -> bool:
        """Return whether a passage contains the text, or each of its parts if some is omitted.

        Equal numbers must be one object.
        """
        self._spend(_LOOKUP * len(numbers))
        key = quoted, id(numbers)
        if key not in self._found:
            parts = [" ".join(part.split()).strip(_ADDED) for part in _OMISSION.split(quoted)]
            parts = list(dict.fromkeys(filter(None, parts)))
            self._found[key] = bool(parts) and any(self._contains(n, parts) for n in numbers)
        return self._found[key]

    def _contains(self, number: int, parts: list[str]) -> bool:
        if number not in self._words:
            self._words[number] = " ".join(self._passages[number - 1].split())
        words = self._words[number]
        for part in parts:
            self._spend(len(words) + len(part) + _LOOKUP)
            if part not in words:
                return False
        return True

    def _spend(self, work: int) -> None:
        self._left -= work
        if self._left < 0:
            raise AnswerError(
                "The answer has too many quotations to look each of them up in its passages. Ask "
                "for a shorter answer."
            )
