"""Checks the citations and quotations of a written answer against its passages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from m3rag.documents import sentences

# "[1]", "[1, 2]", "[1-3]", also with Chinese or Japanese brackets and the digits of any script.
_CITED = r"[\[【［]\s*\d+(?:\s*[,;，、–-]\s*\d+)*\s*[\]】］]"
_CITATION = re.compile(rf"([ \t]*)({_CITED})")
_CITATIONS = re.compile(rf"(?:\s*{_CITED})+[.。।]?")
_RANGE = re.compile(r"(\d+)(?:\s*[–-]\s*(\d+))?")
_QUOTATION = re.compile(
    '"([^"\n]+)"|“([^”]+)”|„([^“”]+)[“”]|”([^”]+)”|«([^»]+)»|»([^«]+)«|「([^」]+)」|『([^』]+)』'
)
_OMISSION = re.compile(r"[\[(]?(?:…|\.\.\.)[\])]?")
# Punctuation that a quotation may have at its ends although the passage does not.
_ADDED = " \t\n.,;:!?。，、；：！？।؟،"
_LONGEST_RANGE = 100


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


@dataclass(frozen=True, slots=True)
class Checked:
    """A written answer after the check.

    Attributes:
        text: The answer without citations of passages that do not exist; others are "[1][2]".
        cited: The numbers of the cited passages, in the order of their first citation.
        removed: The cited numbers that do not match a passage, ascending.
        quotes: The quotations.
    """

    text: str
    cited: tuple[int, ...]
    removed: tuple[int, ...]
    quotes: tuple[Quote, ...]


def check(text: str, passages: Sequence[str]) -> Checked:
    """Check an answer against the passages, which are numbered from 1."""
    valid = range(1, len(passages) + 1)
    removed: set[int] = set()

    def replace(match: re.Match[str]) -> str:
        numbers = _numbers(match[0])
        removed.update(number for number in numbers if number not in valid)
        kept = "".join(f"[{number}]" for number in numbers if number in valid)
        return match[1] + kept if kept else ""

    while (cleaned := _CITATION.sub(replace, text).strip()) != text:  # "[[9]9]" needs two rounds
        text = cleaned
    return Checked(
        text=text,
        cited=tuple(_numbers(text)),
        removed=tuple(sorted(removed)),
        quotes=tuple(_quotes(text, passages)),
    )


def _numbers(text: str) -> list[int]:
    """Return the numbers that a text cites, each once, in the order of their first citation."""
    found: dict[int, None] = {}
    for citation in _CITATION.finditer(text):
        for part in _RANGE.finditer(citation[2]):
            first = int(part[1])
            last = int(part[2] or first)
            numbers = range(first, last + 1) if last - first < _LONGEST_RANGE else (first, last)
            found.update(dict.fromkeys(numbers or (first, last)))
    return list(found)


def _quotes(text: str, passages: Sequence[str]) -> Iterator[Quote]:
    """Yield the quotations, each looked up in the passages that are cited for it."""
    statements = list(_statements(text))
    for match in _QUOTATION.finditer(text):
        quoted = next(group for group in match.groups() if group is not None)
        around = [text[a:b] for a, b in statements if a < match.end() and match.start() < b]
        numbers = _numbers(" ".join(around)) or _numbers(text)
        found = any(_contains(passages[number - 1], quoted) for number in numbers)
        yield Quote(quoted, tuple(numbers), found)


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


def _contains(passage: str, quoted: str) -> bool:
    """Return whether the passage contains the text, or each of its parts if some is omitted."""
    words = " ".join(passage.split())
    parts = [" ".join(part.split()).strip(_ADDED) for part in _OMISSION.split(quoted)]
    return any(parts) and all(part in words for part in parts)
