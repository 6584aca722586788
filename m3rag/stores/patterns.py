"""Patterns of strings in filters.

    prefix    the string begins with the text
    like      the pattern matches the whole string: "%" is any text, "_" any character, and a
              backslash makes the next character an ordinary one
    ilike     like, whatever the case
    text      the words occur in the string, next to each other and whole, whatever the case

A word of `text` is whole if no letter or digit touches it. In scripts that are written without
spaces, such as Chinese, Japanese and Thai, every character is a word of its own. The rule needs no
model, so every store and every index finds the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache

# Thai and Lao, Myanmar, Khmer, Chinese and Japanese
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_TOKENS = re.compile(r"\\(?P<plain>.)|(?P<sign>[%_])|(?P<other>.)", re.DOTALL)


@lru_cache(256)
def matcher(kind: str, text: str) -> Callable[[str], bool]:
    """Return a function that says whether a string matches.

    Args:
        kind: "prefix", "text", "like" or "ilike".
        text: The text or the pattern.
    """
    if kind == "prefix":
        return lambda value: value.startswith(text)
    if kind == "text":
        return _words(text)
    if kind == "like":
        return _like(text)
    alike = _like(_folded(text))
    return lambda value: alike(_folded(value))


def _like(pattern: str) -> Callable[[str], bool]:
    """Return a function that finds the parts between the "%" from left to right, in linear time."""
    parts: list[list[str]] = [[]]
    for token in _TOKENS.finditer(pattern):
        if token["sign"] == "%":
            parts.append([])
        else:
            parts[-1].append("." if token["sign"] else re.escape(token["plain"] or token["other"]))
    first, *rest = [re.compile("".join(part), re.DOTALL) for part in parts]
    if not rest:
        return lambda value: first.fullmatch(value) is not None
    *middle, last = rest
    length = len(parts[-1])

    def found(value: str) -> bool:
        match = first.match(value)
        for part in middle:
            match = part.search(value, match.end()) if match is not None else None
        start = len(value) - length
        return match is not None and match.end() <= start and last.match(value, start) is not None

    return found


def _words(text: str) -> Callable[[str], bool]:
    words = _folded(text).split()
    pattern = re.compile(r"\s+".join(map(re.escape, words)))

    def found(value: str) -> bool:
        folded = _folded(value)
        return any(
            not _joined(folded, match.start()) and not _joined(folded, match.end())
            for match in _overlapping(pattern, folded)
        )

    return found


def _overlapping(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    match = pattern.search(text)
    while match is not None:
        yield match
        match = pattern.search(text, match.start() + 1)


def _joined(text: str, at: int) -> bool:
    """Return whether the characters before and after a position belong to one word."""
    return 0 < at < len(text) and _in_word(text[at - 1]) and _in_word(text[at])


def _in_word(character: str) -> bool:
    """Return whether a character joins those beside it to a word."""
    if _UNSPACED.match(character):
        return False
    return unicodedata.category(character)[0] in "LMN"


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
