"""Sentence boundaries in every script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from m3rag.documents.lines import Kind, Line, lines

# These end a sentence anywhere. Latin full stops do not (3.14, www.example.org): see `_ends`.
_STOPS = (
    "。！？｡‼⁇⁈⁉"  # Chinese, Japanese
    "।॥᱾᱿꣎꣏"  # Devanagari and its relatives
    "؟۔"  # Arabic, Urdu
    "։"  # Armenian
    "።፧፨"  # Ethiopic
    "๚๛"  # Thai
    "။"  # Burmese
    "។៕"  # Khmer
    "།༎"  # Tibetan
    "᠃᠉"  # Mongolian
)
_CLOSERS = "\"'”’»›)]}」』）】〉》〗〙］｝＂＇*_`~"
_END = re.compile(rf"[{_STOPS}.!?…．]++[{re.escape(_CLOSERS)}]*+")
_OPENERS = re.compile(r"[\s\"'“‘«‹„([{*_`~]*+")
_WORD = re.compile(r"[^\s\"'“‘«‹„(\[{*_`~]*\Z")
_SPACELESS = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9d]")

# Nearly always followed by the rest of the sentence; lower case, without the last dot.
_ABBREVIATED = (
    "mr mrs ms dr prof st sr sra jr vs e.g i.e cf fig figs eq no nos vol pp al approx "  # English
    "z.b d.h u.a z.t s.o bzw nr abs bspw ggf inkl usf "  # German
    "m mm mme mlle p.ex ex "  # French
    "ud uds dña d p.ej pág núm "  # Spanish
    "sig dott ecc "  # Italian
    "г гг т.е т.к ул им стр рис "  # Russian
    "jan feb mar apr jun jul aug sep sept oct nov dec"
)
_ABBREVIATIONS = frozenset(_ABBREVIATED.split())

# A line of Chinese is one long word, and a word longer than this could have been broken.
_LONGEST_FIRST_WORD = 20
# A program or a typist who breaks text into lines keeps them within this many characters.
_WIDEST_PAGE = 120
_LONGEST_WORD = 64
_COMMAS = ",،，、"
# No sentence and no title ends with one of these.
_LEADING_WORDS = (
    "a an the of and or to in on for with by from at as is are was were that which than into "
    "der die das dem den des ein eine einen einem einer und oder zu im mit von für auf bei zum zur "
    "le la les un une du et à en dans pour par sur avec est sont que qui "
    "el los las unos unas y o con por para del al es son "
    "il lo gli uno di e da per su della dei "
    "и в на с к по для из о от"
)
_LEADING = frozenset(_LEADING_WORDS.split())
_INTRODUCTION = ":："  # of a list; its items may start with a small letter


def sentences(text: str) -> list[tuple[int, int]]:
    r"""Return the sentences of a text in any script, found in one pass.

    A sentence ends at its full stop (including closing quotes and brackets), at a blank line, and
    at the end of a line that was ended on purpose: a heading, a list item, a table row, a line of
    code, or a line with room left for the next word. Other line breaks only wrap the text, and so
    does one before a small letter, after a comma or after a word such as "the".

    Args:
        text: Any text; lines end with "\n".

    Returns:
        Character spans `(start, end)`, ascending, without overlap and without outer white space.
        Every character that is not white space is in one of them.
    """
    found: list[tuple[int, int]] = []
    for start, end in _runs(text):
        found.extend(_split(text, start, end))
    return found


def _runs(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of text that no sentence crosses."""
    paragraph: list[Line] = []
    for line in lines(text):
        if paragraph and line.kind is not Kind.TEXT:
            yield from _unwrap(text, paragraph)
            paragraph = []
        if line.kind in (Kind.TEXT, Kind.ITEM):
            paragraph.append(line)
        elif line.start < line.end:
            yield line.start, line.end
    yield from _unwrap(text, paragraph)


def _unwrap(text: str, paragraph: list[Line]) -> Iterator[tuple[int, int]]:
    """Yield the spans of a paragraph, with lines joined that were broken only for lack of room."""
    if not paragraph:
        return
    width = min(max(line.end - line.start for line in paragraph), _WIDEST_PAGE)
    start = paragraph[0].start
    for line, following in pairwise(paragraph):
        word = text[following.start : following.start + _LONGEST_FIRST_WORD].split(maxsplit=1)[0]
        length = line.end - line.start
        # A program that fills lines may end one early, before a long word or in a narrow column.
        goes_on = (word[0].islower() and text[line.end - 1] not in _INTRODUCTION) or _unfinished(
            text, line
        )
        if length > _WIDEST_PAGE or (width - length > len(word) and not goes_on):
            yield start, line.end
            start = following.start
    yield start, paragraph[-1].end


def _unfinished(text: str, line: Line) -> bool:
    """Return whether a line ends in the middle of a sentence: with a comma, or with "of the"."""
    if text[line.end - 1] in _COMMAS:
        return True
    words = text[max(line.start, line.end - _LONGEST_WORD) : line.end].rsplit(maxsplit=1)
    return len(words) == 2 and words[1] in _LEADING


def _split(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the sentences of a run of text that starts and ends without white space."""
    first = start
    for mark in _END.finditer(text, start, end):
        if mark.end() == end:
            break
        following = _OPENERS.match(text, mark.end(), end)
        after = following.end() if following else mark.end()
        if mark.start() > first and _ends(text, mark, first, after):
            yield first, mark.end()
            first = mark.end()
            while text[first].isspace():  # stops before the end of the run
                first += 1
    yield first, end


def _ends(text: str, mark: re.Match[str], first: int, after: int) -> bool:
    """Return whether the punctuation at `mark` ends the sentence that started at `first`.

    Args:
        text: The whole text.
        mark: The punctuation with its closing quotes and brackets.
        first: The start of the sentence.
        after: The position of the next character that is neither white space nor an opening quote
            or bracket.
    """
    stop = mark[0][0]
    following = text[after : after + 1]
    if stop in _STOPS or any(character in _STOPS for character in mark[0]):
        return True
    if stop == "．":
        return not following.isdigit()
    if not text[mark.end()].isspace():
        # "真的吗?我不信" has no spaces; in "3.14", "wait...what" and "a.b", no sentence ends.
        return stop in "!?" and _SPACELESS.match(following) is not None
    if following.islower():
        return False
    return stop != "." or mark[0].startswith("..") or not _abbreviates(text, mark, first)


def _abbreviates(text: str, mark: re.Match[str], first: int) -> bool:
    """Return whether a dot belongs to the word before it: "Dr.", "J.", "3. Oktober", "1. First"."""
    begin = max(first, mark.start() - _LONGEST_WORD)
    word = _WORD.search(text, begin, mark.start())
    letters = word[0] if word else ""
    if letters.isdigit():
        return len(letters) <= 2 or begin + len(letters) == first
    return letters.lower() in _ABBREVIATIONS or (len(letters) == 1 and letters.isupper())
