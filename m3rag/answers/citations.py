"""Citations and quotations of a written answer, checked against the passages it was given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from m3rag.documents import sentences

# "[1]", "[1, 2]", "[1-3]"; the brackets of Chinese and Japanese, and any script's digits.
_CITED = r"[\[【［]\s*\d+(?:\s*[,;，、–-]\s*\d+)*\s*[\]】］]"
_CITATION = re.compile(rf"([ \t]*)({_CITED})")
_CITATIONS = re.compile(rf"(?:\s*{_CITED})+[.。।]?")
_RANGE = re.compile(r"(\d+)(?:\s*[–-]\s*(\d+))?")
_QUOTATION = re.compile(
    '"([^"\n]+)"|“([^”]+)”|„([^“”]+)[“”]|”([^”]+)”|«([^»]+)»|»([^«]+)«|「([^」]+)」|『([^』]+)』'
)
_OMISSION = re.compile(r"[\[(]?(?:…|\.\.\.)[\])]?")
_ADDED = (
    " \t\n.,;:!?。，、；：！？।؟،"  # punctuation that a quotation may end with, and its source not
)
_LONGEST_RANGE = 100


@dataclass(frozen=True, slots=True)
class Quote:
    """Words between quotation marks.

    Attributes:
        text: the words.
        numbers: the passages that its sentence cites, or all that the answer cites if it cites
            none.
        found: whether one of them has the words, white space and "…" aside.
    """

    text: str
    numbers: tuple[int, ...]
    found: bool


@dataclass(frozen=True, slots=True)
class Checked:
    """A written answer after the check.

    Attributes:
        text: the answer without citations of passages that do not exist; others are "[1][2]".
        cited: the numbers of the passages it cites, in the order it does so.
        removed: numbers that no passage has, ascending.
        quotes: what stands between quotation marks.
    """

    text: str
    cited: tuple[int, ...]
    removed: tuple[int, ...]
    quotes: tuple[Quote, ...]


def check(text: str, passages: Sequence[str]) -> Checked:
    """Check what a language model wrote against the passages, which count from 1."""
    valid = range(1, len(passages) + 1)
    removed: set[int] = set()

    def kept(match: re.Match[str]) -> str:
        numbers = _numbers(match[0])
        removed.update(number for number in numbers if number not in valid)
        rest = "".join(f"[{number}]" for number in numbers if number in valid)
        return match[1] + rest if rest else ""

    while (cleaned := _CITATION.sub(kept, text).strip()) != text:  # "[[9]9]" hides one in another
        text = cleaned
    return Checked(
        text=text,
        cited=tuple(_numbers(text)),
        removed=tuple(sorted(removed)),
        quotes=tuple(_quotes(text, passages)),
    )


def _numbers(text: str) -> list[int]:
    """The numbers that a text cites, each once, in the order of their first citation."""
    found: dict[int, None] = {}
    for citation in _CITATION.finditer(text):
        for part in _RANGE.finditer(citation[2]):
            first = int(part[1])
            last = int(part[2] or first)
            numbers = range(first, last + 1) if last - first < _LONGEST_RANGE else (first, last)
            found.update(dict.fromkeys(numbers or (first, last)))
    return list(found)


def _quotes(text: str, passages: Sequence[str]) -> Iterator[Quote]:
    """What stands between quotation marks, looked up in the passages cited for it."""
    statements = list(_statements(text))
    for match in _QUOTATION.finditer(text):
        quoted = next(group for group in match.groups() if group is not None)
        around = [text[a:b] for a, b in statements if a < match.end() and match.start() < b]
        numbers = _numbers(" ".join(around)) or _numbers(text)
        found = any(_has(passages[number - 1], quoted) for number in numbers)
        yield Quote(quoted, tuple(numbers), found)


def _statements(text: str) -> Iterator[tuple[int, int]]:
    """The spans of sentences, each with the citations that follow its full stop."""
    done = 0
    for start, end in sentences(text):
        start = max(start, done)
        if start >= end:  # only the citations of the sentence before
            continue
        after = _CITATIONS.match(text, end)
        done = after.end() if after else end
        yield start, done


def _has(passage: str, quoted: str) -> bool:
    """Whether the passage has the words; each part, where some are left out."""
    words = " ".join(passage.split())
    parts = [" ".join(part.split()).strip(_ADDED) for part in _OMISSION.split(quoted)]
    return any(parts) and all(part in words for part in parts)
