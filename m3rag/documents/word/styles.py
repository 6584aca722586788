"""The styles of a Word document: which paragraphs are headings, and which are list items."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

_HEADING = re.compile(r"heading ([1-9])\Z", re.IGNORECASE)
_DEEPEST = 16  # the styles of a broken file may form a circle


class Look(NamedTuple):
    """What a paragraph is.

    Attributes:
        level: The level of a heading; 0 is the title of the document, None no heading.
        item: Whether it is a list item.
        number: The list that it is an item of; None if it is not said.
        depth: The level in that list, from 0; None if it is not said.
    """

    level: int | None = None
    item: bool = False
    number: str | None = None
    depth: int | None = None


class Styles:
    """The looks that styles give to paragraphs, each found once: there may be thousands.

    Args:
        root: The root of the styles part, or None.
        word: Adds the namespace to a name.
    """

    def __init__(self, root: Any, word: Callable[[str], str]) -> None:
        self._word = word
        self._styles: dict[str, Any] = {}
        self._known: dict[str, Look] = {}
        self._usual = ""
        for style in root.iter(word("style")) if root is not None else ():
            if style.get(word("type"), "paragraph") == "paragraph":
                name = style.get(word("styleId"), "")
                self._styles[name] = style
                if style.get(word("default")) in ("1", "true", "on"):
                    self._usual = name

    def of(self, paragraph: Any) -> Look:
        """Return the look of a paragraph, by its style and by what it says itself."""
        properties = paragraph.find(self._word("pPr"))
        if properties is None:
            return self._look(self._usual)
        style = properties.find(self._word("pStyle"))
        look = self._look(self._usual if style is None else style.get(self._word("val"), ""))
        return self._with(look, properties)

    def _look(self, name: str, depth: int = 0) -> Look:
        if name not in self._styles or depth > _DEEPEST:
            return Look()
        if name not in self._known:
            style = self._styles[name]
            base = style.find(self._word("basedOn"))
            look = Look()
            if base is not None:
                look = self._look(base.get(self._word("val"), ""), depth + 1)
            properties = style.find(self._word("pPr"))
            if properties is not None:
                look = self._with(look, properties)
            title = style.find(self._word("name"))
            look = _named(look, "" if title is None else title.get(self._word("val"), ""))
            self._known[name] = look
        return self._known[name]

    def _with(self, look: Look, properties: Any) -> Look:
        """Return a look with the properties of a paragraph or a style."""
        outline = properties.find(self._word("outlineLvl"))
        if outline is not None:
            level = outline.get(self._word("val"), "9")
            known = level.isdecimal() and int(level) < 9
            look = look._replace(level=int(level) + 1 if known else None)
        listed = properties.find(self._word("numPr"))
        if listed is not None:
            number, depth = (listed.find(self._word(name)) for name in ("numId", "ilvl"))
            look = look._replace(item=True)
            if number is not None:
                value = number.get(self._word("val"), "0")
                look = look._replace(item=value != "0", number=value)
            if depth is not None and (value := depth.get(self._word("val"), "")).isdecimal():
                look = look._replace(depth=int(value))
        return look


def _named(look: Look, name: str) -> Look:
    """Return a look with what the name of a style says; in the file, Word's own are English."""
    if found := _HEADING.match(name):
        return look._replace(level=int(found[1]))
    if name == "Title":
        return look._replace(level=0)
    return look._replace(item=look.item or name.startswith("List "))
