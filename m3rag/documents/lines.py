"""The lines of a text and the kind of each: text, list item, table row, code and so on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple


class Kind(Enum):
    """The kind of a line."""

    BLANK = auto()
    TEXT = auto()
    ITEM = auto()  # the first line of a list item or a quotation
    TABLE = auto()
    CODE = auto()  # in a fenced code block, including the fences
    HEADING = auto()  # "## Title"
    UNDERLINE = auto()  # "=====" or "-----" under a title, or a horizontal rule


class Line(NamedTuple):
    """A line without its outer white space: `text[start:end]`, empty if the line is blank."""

    start: int
    end: int
    indent: int
    kind: Kind


# Possessive quantifiers (`++`) never backtrack, so every match takes linear time.
_FENCE = re.compile(r"(`{3,}+|~{3,}+)(?!.*`)")
_SHAPES = (
    (Kind.UNDERLINE, re.compile(r"(?:=++|-{2,}+|\*{3,}+|_{3,}+)\Z")),
    (Kind.HEADING, re.compile(r"#{1,6}(?:\s|\Z)")),
    (Kind.TABLE, re.compile(r"\||\+[-=+]{2,}+\Z")),
    (Kind.ITEM, re.compile(r"(?:[-*+•◦▪‣·>✅☐☑]|[0-9]{1,9}[.)]|[A-Za-z][)])(?:\s|\Z)")),
)
_SHAPE_STARTS = frozenset("=-*_#|+•◦▪‣·>✅☐☑0123456789")


def lines(text: str) -> Iterator[Line]:
    r"""Yield the lines of a text in order; only "\n" ends a line."""
    fence = ""
    start = 0
    while start <= len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        line = text[start:end]
        body = line.lstrip()
        indent = len(line) - len(body)
        body = body.rstrip()
        kind, fence = _kind(body, fence)
        first = start + indent if body else start
        yield Line(first, first + len(body), indent, kind)
        start = end + 1


def _kind(body: str, fence: str) -> tuple[Kind, str]:
    """Return a line's kind, and the fence that is open after it ("" if none)."""
    if fence:
        closed = body.startswith(fence) and not body.strip(fence[0])
        return Kind.CODE, "" if closed else fence
    if not body:
        return Kind.BLANK, ""
    if opened := _FENCE.match(body):
        return Kind.CODE, opened[1]
    if body[0] in _SHAPE_STARTS or body[1:2] == ")":
        for kind, shape in _SHAPES:
            if shape.match(body):
                return kind, ""
    return Kind.TEXT, ""
