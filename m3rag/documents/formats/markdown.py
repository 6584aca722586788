"""Markdown: the text stays as its author wrote it; the parser only finds the headings.

The parser uses markdown-it-py, because it implements CommonMark in full (fences, HTML blocks,
setext headings), reports the line of every block, and can skip inline parsing, which takes most of
the time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate, pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

from m3rag.documents.document import Heading
from m3rag.documents.formats.content import Content

_FRONT_MATTER = re.compile(r"(?:---|\+\+\+)[ \t]*\n")  # YAML or TOML
_FRONT_MATTER_END = re.compile(r"^(?:---|\.\.\.|\+\+\+)[ \t]*(?:\n|\Z)", re.MULTILINE)
# The parser takes about a second per megabyte, and much longer for a few texts.
_LARGE = 2_000_000  # characters
_MARKED = re.compile(
    r"^ {0,3}(?:(?P<level>#{1,6})(?:[ \t]++(?P<title>.*))?"
    r"|(?P<fence>`{3,}|~{3,})(?P<info>.*)|(?P<underline>=++|-++)[ \t]*+)$",
    re.MULTILINE,
)
_CLOSING = re.compile(r"(?:^|[ \t])#+[ \t]*\Z")
_INLINE = re.compile(r"[\\`*_\[\]<&!\n]")  # what may make a title different from its source
_TITLE = re.compile(r"^title[ \t]*[:=][ \t]*(.+)$", re.MULTILINE)
_NOTE_LINK = re.compile(r"!?\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]")  # Obsidian's [[Note|shown]]


def parse(text: str) -> Content:
    """Return a Markdown text with its headings and title."""
    matter = text[: front_matter_end(text)]
    title = _TITLE.search(matter)
    # Front matter is not Markdown. Replace it with as many empty lines, to keep line numbers.
    if len(text) > _LARGE:
        headings = tuple(_plain_headings(text, len(matter)))
    else:
        headings = _headings("\n" * matter.count("\n") + text[len(matter) :], text)
    first = headings[0].title if headings else None
    return Content(text, headings, title[1].strip(" \t\"'") if title else first)


def front_matter_end(text: str) -> int:
    """Return where the front matter of a text ends; 0 if there is none."""
    front = _FRONT_MATTER.match(text)
    end = _FRONT_MATTER_END.search(text, front.end()) if front else None
    return end.end() if end else 0


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
            title = _NOTE_LINK.sub(r"\1", inline.content.strip())
            if _INLINE.search(title):
                title = _plain(parser.parseInline(title))
            title = " ".join(title.split())
            if title:
                found.append(Heading(int(opening.tag[1:]), title, starts[opening.map[0]]))
    return tuple(found)


def _plain_headings(text: str, start: int) -> Iterator[Heading]:
    """Yield the headings of a large text in one pass, without the inline syntax of their titles.

    It knows "# Title", titles underlined with "=" or "-" in one line, and fenced code.
    """
    fence = ""
    for mark in _MARKED.finditer(text, start):
        if mark["fence"]:
            run = mark["fence"]
            if not fence and not (run[0] == "`" and "`" in mark["info"]):
                fence = run
            elif fence and run.startswith(fence) and not mark["info"].strip():
                fence = ""
        elif fence:
            continue
        elif mark["level"]:
            title = " ".join(_CLOSING.sub("", (mark["title"] or "").strip()).split())
            if title:
                yield Heading(len(mark["level"]), title, mark.start())
        else:
            first = text.rfind("\n", start, max(mark.start() - 1, start)) + 1
            line = text[max(first, start) : mark.start()]
            title = " ".join(line.split())
            if title and not _MARKED.match(line.rstrip("\n")) and line[:4].strip():
                level = 1 if mark["underline"][0] == "=" else 2
                yield Heading(level, title, max(first, start))


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
