"""The numbers of list items and headings, which OpenDocument files describe and do not store."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from m3rag.documents.markup import attribute, descendants, local
from m3rag.documents.numerals import letters, roman

_PLACE = re.compile(r"%([1-9]\d?)%")
_LEVELS = 10
_OUTLINE = "\0"  # the name of the style of headings, which no list style has


class _Level(NamedTuple):
    """How a level is numbered; without a form, it has a bullet or nothing.

    Attributes:
        form: "1", "a", "A", "i" or "I"; other forms are decimal.
        text: The number with its surroundings: "%2%" is the number of level 2.
        start: The first number.
    """

    form: str = ""
    text: str = ""
    start: int = 1


class Numbering:
    """The styles of the lists of a document, and how far each is counted.

    Args:
        roots: The roots of its parts that have styles.
    """

    def __init__(self, roots: Iterable[Any]) -> None:
        self._levels: dict[str, dict[int, _Level]] = {}
        self._of_paragraphs: dict[str, str] = {}  # a paragraph style: the list style it gives
        self._counts: dict[str, list[int | None]] = {}
        for root in roots:
            for style in descendants(root, "list-style", "outline-style", "style"):
                self._add(style)

    def style_of(self, items: Any, outer: str) -> str:
        """Return the list style of a list: its own, that of its paragraphs, or the outer list's."""
        own = attribute(items, "style-name")
        if own is None:
            names = (attribute(p, "style-name") or "" for p in descendants(items, "p", "h")[:1])
            return next((self._of_paragraphs[n] for n in names if n in self._of_paragraphs), outer)
        return own

    def begin(self, items: Any, style: str, level: int) -> None:
        """Start a list, which counts from its first number unless it continues another."""
        continued = attribute(items, "continue-numbering") == "true"
        if not continued and attribute(items, "continue-list") is None:
            self._count(style)[min(level, _LEVELS) - 1 :] = [None] * _LEVELS

    def item(self, element: Any, style: str, level: int) -> str:
        """Count an item of a list, and return its number, such as "2.1." or "-"."""
        return self._next(style, level, attribute(element, "start-value")) or "-"

    def heading(self, element: Any, level: int) -> str:
        """Count a heading, and return its number; "" if headings have none."""
        if attribute(element, "is-list-header") == "true":
            return ""
        return self._next(_OUTLINE, level, attribute(element, "start-value"))

    def _next(self, style: str, level: int, start: str | None) -> str:
        levels = self._levels.get(style, {})
        here = levels.get(level, _Level())
        if not here.form:
            return ""
        counts = self._count(style)
        before = counts[level - 1]
        first = here.start if before is None else before + 1
        counts[level - 1] = _integer(start, first)
        counts[level:] = [None] * (_LEVELS - level)

        def shown(place: re.Match[str]) -> str:
            above = levels.get(int(place[1]), _Level())
            count = counts[int(place[1]) - 1] if int(place[1]) <= _LEVELS else None
            return _formatted(above.start if count is None else count, above.form)

        return _PLACE.sub(shown, here.text).strip()

    def _count(self, style: str) -> list[int | None]:
        return self._counts.setdefault(style, [None] * _LEVELS)

    def _add(self, style: Any) -> None:
        name = attribute(style, "name") or ""
        if local(style) == "style":
            if found := attribute(style, "list-style-name"):
                self._of_paragraphs[name] = found
            return
        levels = (_level(part) for part in style)
        known = {number: level for number, level in levels if 0 < number <= _LEVELS}
        self._levels[_OUTLINE if local(style) == "outline-style" else name] = known


def _level(part: Any) -> tuple[int, _Level]:
    """Return the number of a level, and how it is numbered."""
    number = _integer(attribute(part, "level"), 0)
    form = attribute(part, "num-format") or ""
    text = attribute(part, "num-list-format")  # LibreOffice's own, which is exact
    if text is None:
        shown = min(max(_integer(attribute(part, "display-levels"), 1), 1), number)
        inner = ".".join(f"%{i}%" for i in range(number - shown + 1, number + 1))
        text = f"{attribute(part, 'num-prefix') or ''}{inner}{attribute(part, 'num-suffix') or ''}"
    return number, _Level(form, text, _integer(attribute(part, "start-value"), 1))


def _formatted(count: int, form: str) -> str:
    text = {"a": letters, "i": roman}.get(form.lower(), str)(count)
    return text.upper() if form in ("A", "I") else text


def _integer(text: str | None, default: int) -> int:
    return int(text) if text and re.fullmatch(r"[0-9]{1,9}", text) else default
