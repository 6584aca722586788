"""Markdown: the text stays as its author wrote it; the parser only finds the headings.

The parser uses markdown-it-py, because it implements CommonMark in full (fences, HTML blocks,
setext headings), reports the line of every block, and can skip inline parsing, which takes most of
the time.
"""

from __future__ import annotations

import re
from itertools import accumulate, pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

from m3rag.documents.document import Heading
from m3rag.documents.formats.content import Content

_FRONT_MATTER = re.compile(r"---[ \t]*\n(?:.*\n)*?(?:---|\.\.\.)[ \t]*(?:\n|\Z)")
_TITLE = re.compile(r"^title:[ \t]*(.+)$", re.MULTILINE)


def parse(text: str) -> Content:
    """Return a Markdown text with its headings and title."""
    front = _FRONT_MATTER.match(text)
    matter = front[0] if front else ""
    title = _TITLE.search(matter)
    # Front matter is not Markdown. Replace it with as many empty lines, to keep line numbers.
    headings = _headings("\n" * matter.count("\n") + text[len(matter) :], text)
    first = headings[0].title if headings else None
    return Content(text, headings, title[1].strip(" \t\"'") if title else first)


def headings(text: str) -> tuple[Heading, ...]:
    """Return the headings of a text with any line ends, with positions in that text."""
    same_length = text.replace("\r\n", " \n").replace("\r", "\n")  # keeps all positions
    return parse(same_length).headings


def _headings(source: str, text: str) -> tuple[Heading, ...]:
    parser = MarkdownIt("commonmark").disable("inline")
    starts = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
    tokens = parser.parse(source)
    found = []
    parser.enable("inline")
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open" and opening.map:
            title = _plain(parser.parseInline(inline.content))
            if title:
                found.append(Heading(int(opening.tag[1:]), title, starts[opening.map[0]]))
    return tuple(found)


def _plain(tokens: list[Token]) -> str:
    """Return the visible text of inline Markdown."""
    parts = []
    for token in tokens:
        if token.children and token.type != "image":
            parts.append(_plain(token.children))
        elif token.type in ("text", "code_inline", "image", "text_special"):
            parts.append(token.content)
        elif token.type in ("softbreak", "hardbreak"):
            parts.append(" ")
    return " ".join("".join(parts).split())
