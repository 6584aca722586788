"""The numbers of list items and headings, which Word counts and does not store."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from m3rag.documents.numerals import letters, roman

_PLACE = re.compile(r"%([1-9])")
_LEVELS = 9


class _Level(NamedTuple):
    """How a level of a list is numbered."""

    start: int = 1
    form: str = "decimal"
    text: str = ""


class Numbering:
    """The lists of a document and how far each is counted.

    Args:
        root: The root of its numbering part, or None.
        word: Adds the namespace to a name.
    """

    def __init__(self, root: Any, word: Callable[[str], str]) -> None:
        self._word = word
        self._lists: dict[str, str] = {}  # a list: its definition
        self._levels: dict[str, dict[int, _Level]] = {}
        self._starts: dict[tuple[str, int], int] = {}  # of a list that starts again
        self._counts: dict[str, list[int]] = {}
        for definition in root.iter(word("abstractNum")) if root is not None else ():
            levels = (self._level(level) for level in definition.iter(word("lvl")))
            self._levels[self._value(definition, "abstractNumId")] = dict(levels)
        for number in root.iter(word("num")) if root is not None else ():
            self._add(number)

    def label(self, number: str, level: int) -> str | None:
        """Count an item of a list, and return its mark, such as "2.1" or "-".

        Returns:
            The mark; "" for a list without one, None if there is no such list.
        """
        definition = self._lists.get(number)
        if definition is None:
            return None
        levels = self._levels.get(definition, {})
        level = min(max(level, 0), _LEVELS - 1)
        here = levels.get(level, _Level())
        counts = self._counts.setdefault(definition, [-1] * _LEVELS)
        start = self._starts.pop((number, level), None)
        if start is not None:
            counts[level] = start
        else:
            counts[level] = here.start if counts[level] < 0 else counts[level] + 1
        counts[level + 1 :] = [-1] * (_LEVELS - level - 1)
        if here.form in ("bullet", "none"):
            return "-" if here.form == "bullet" else ""

        def shown(place: re.Match[str]) -> str:
            above = int(place[1]) - 1
            form = levels.get(above, _Level())
            return formatted(counts[above] if counts[above] >= 0 else form.start, form.form)

        return _PLACE.sub(shown, here.text or f"%{level + 1}.").strip()

    def _add(self, number: Any) -> None:
        name = self._value(number, "numId")
        definition = number.find(self._word("abstractNumId"))
        if definition is not None:
            self._lists[name] = self._value(definition, "val")
        for change in number.iter(self._word("lvlOverride")):
            start = change.find(self._word("startOverride"))
            if start is not None:
                self._starts[name, _integer(self._value(change, "ilvl"))] = _integer(
                    self._value(start, "val")
                )

    def _level(self, level: Any) -> tuple[int, _Level]:
        start, form, text = (level.find(self._word(n)) for n in ("start", "numFmt", "lvlText"))
        return _integer(self._value(level, "ilvl")), _Level(
            1 if start is None else _integer(self._value(start, "val")),
            "decimal" if form is None else self._value(form, "val"),
            "" if text is None else self._value(text, "val"),
        )

    def _value(self, element: Any, name: str) -> str:
        return str(element.get(self._word(name), ""))


def formatted(count: int, form: str) -> str:
    """Return a number in a format of Word's; those of other scripts are decimal."""
    if form == "decimalZero":
        return f"{count:02}"
    kinds = {"lowerLetter": letters, "lowerRoman": roman}
    text = kinds.get(form.replace("upper", "lower"), str)(count)
    return text.upper() if form.startswith("upper") else text


def _integer(text: str) -> int:
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else 0
