"""Words that a hyphen at the end of a line breaks: which are one word, and which have a hyphen."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

HYPHEN = "\x02"
"""A hyphen at the end of a line that is followed by the next line, without a line end."""

_MARK = re.compile(r"(?<=[^\W_])(?:[\x02\u00ad]\n?|[-\u2010]\n)(?=[^\W_])")
_WORD = re.compile(r"[^\W_]+(?:[-\u2010][^\W_]+)*")
_LEFT_OVER = re.compile("\x02\n?|\u00ad")
_SPACE = re.compile(r"\s")
_LONGEST = 64  # characters of a word to look at
# "Vor- und Nachteile", "pre- and post-war": the hyphen stands for the rest of a word.
_CONJUNCTIONS = "und oder bzw and or et ou och og en of y e o u i ja tai и или"
_AND = frozenset(_CONJUNCTIONS.split())
# First parts that keep their hyphen in English, and what they end in when they are a syllable.
_FIRST_PARTS = (
    "all cross double ex five four full half high long low mixed multi near non one open over real "
    "right self semi short single six state ten third three two well wide"
)
_FIRST = frozenset(_FIRST_PARTS.split())
_ENDING = re.compile(r"(?:ed|en|er|ers|es|est|ing|ings|ish|i[sz]\w*|ity|ly|ness|y)\Z")
# What follows a hyphen in French ("peut-être", "celui-ci", "donne-t-il") and in Russian ("кто-то").
_SECOND_PARTS = (
    "être même mêmes ci là il elle ils elles ce je tu nous vous moi toi lui leur t dessus dessous "
    "то нибудь либо таки ка за под"
)
_SECOND = frozenset(_SECOND_PARTS.split())
_FIRST_RUSSIAN = frozenset(["по", "кое", "из", "во"])


def words_of(texts: Iterable[str]) -> frozenset[str]:
    """Return the words of a document in lower case, without those that a line's end breaks."""
    found: set[str] = set()
    for text in texts:
        parts = _MARK.split(text)
        for i, part in enumerate(parts):
            words = _WORD.findall(part)
            found.update(map(str.lower, words[i > 0 : len(words) - (i + 1 < len(parts))]))
    return frozenset(found)


def join_words(text: str, words: Collection[str]) -> str:
    """Return a text in which no word is broken by the end of a line.

    The end of the line moves behind the word. The other words of the document say most: a word
    that it also writes in one line is written in the same way here.

    Args:
        text: The text.
        words: The words of the whole document, from `words_of`.
    """
    parts: list[str] = []
    at, moved = 0, False  # whether the end of a line waits for the end of its word
    for mark in _MARK.finditer(text):
        part, moved = _settled(text[at : mark.start()], moved=moved)
        soft = mark[0][0] == "\u00ad"
        before = _WORD.findall(text, max(at, mark.start() - _LONGEST), mark.start())[-1]
        following = _WORD.match(text, mark.end(), mark.end() + _LONGEST)
        after = following[0] if following else ""
        if after.lower() in _AND and not soft:
            parts += (part, "-\n")
        else:
            parts += (part, "-" if not soft and _keeps(before, after, words) else "")
            moved = moved or mark[0] != "\u00ad"
        at = mark.end()
    parts.append(_settled(text[at:], moved=moved)[0])
    return _LEFT_OVER.sub("", "".join(parts))


def _settled(text: str, *, moved: bool) -> tuple[str, bool]:
    """Return a text with the end of a line after its first word, and whether one still waits."""
    space = _SPACE.search(text) if moved else None
    if space is None:
        return text, moved
    return f"{text[: space.start()]}\n{text[space.end() :]}", False


def _keeps(before: str, after: str, words: Collection[str]) -> bool:
    """Return whether a word that is broken after `before` is written with a hyphen."""
    first, second = before.lower(), after.lower()
    last = first.rpartition("-")[2]
    if first + second in words:
        return False
    if f"{first}-{second}" in words or before[-1].isdigit() or after[0].isdigit():
        return True
    if after[0].isupper():  # "Soll-Wert", "E-Mail", but "INFOR-MATION"
        return not (before.isupper() and after.isupper() and len(before) > 1)
    if second in _SECOND or last in _FIRST_RUSSIAN:
        return True
    if last in _FIRST and not _ENDING.match(second):
        return True
    return len(last) > 2 and len(second) > 2 and last in words and second in words
