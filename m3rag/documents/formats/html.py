"""HTML: the visible part of a page, as text with its paragraphs, lists and tables.

The parser uses beautifulsoup4 on lxml, because together they read any page that browsers do,
including broken ones.
"""

from __future__ import annotations

import re

from bs4 import BeautifulSoup, Tag
from bs4.element import NavigableString, PreformattedString

from m3rag.documents.formats.content import Content, Writer

# Elements that are not part of the page's text.
_SKIPPED_TAGS = (
    "head script style noscript template nav footer svg iframe object canvas button select "
    "textarea annotation"
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_INLINE_TAGS = (
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark math nobr "
    "output q rp rt ruby s samp small span strike strong sub sup time tt u var wbr img"
)
_SKIPPED, _INLINE = frozenset(_SKIPPED_TAGS.split()), frozenset(_INLINE_TAGS.split())
_MAX_DEPTH = 100  # nesting below this level is flattened; broken pages have thousands of levels
_SPACE = re.compile(r"\s+")
_SPACE_RUN = re.compile(r"[^\S\n]{2,}")
_LINE_SPACE = re.compile(r"[^\S\n]*\n[^\S\n]*")


def parse(text: str) -> Content:
    """Return the text of a page."""
    soup = BeautifulSoup(text, "lxml")
    title = soup.title.get_text() if soup.title else None
    main = soup.find("main") or soup.find(role="main")
    body = main if isinstance(main, Tag) and main.get_text(strip=True) else soup.body or soup
    page = _Page()
    page.write(body)
    page.flush()
    return page.writer.content(title=title)


class _Page:
    """A walk through a page that collects inline text until a block starts or ends."""

    def __init__(self) -> None:
        self.writer = Writer()
        self._line: list[str] = []
        self._prefix = ""
        self._gap = "\n\n"
        self._depth = 0

    def write(self, parent: Tag) -> None:
        """Write everything in a tag."""
        if self._depth == _MAX_DEPTH:
            self._line.append(_SPACE.sub(" ", parent.get_text(" ")))
            return
        self._depth += 1
        for child in parent.children:
            if isinstance(child, Tag):
                self._tag(child)
            elif isinstance(child, NavigableString) and not isinstance(child, PreformattedString):
                self._line.append(_SPACE.sub(" ", child))
        self._depth -= 1

    def flush(self) -> None:
        """End the paragraph; the text of a list item starts with its marker."""
        text = _LINE_SPACE.sub("\n", _SPACE_RUN.sub(" ", "".join(self._line))).strip()
        self._line = []
        if text:
            indent = " " * len(self._prefix)
            self.writer.block(self._prefix + text.replace("\n", "\n" + indent), gap=self._gap)
            self._prefix, self._gap = indent, "\n\n"

    def _tag(self, tag: Tag) -> None:
        if _hidden(tag):
            return
        if tag.name == "br":
            self._line.append("\n")
        elif tag.name in _INLINE:
            self.write(tag)
        else:
            self.flush()
            self._block(tag)
            self.flush()

    def _block(self, tag: Tag) -> None:
        if tag.name in _HEADINGS:
            title = tag.get_text().strip().removesuffix("¶")  # Sphinx's link to the heading itself
            self.writer.heading(_HEADINGS[tag.name], title)
        elif tag.name == "pre":
            self.writer.block(tag.get_text().replace("\r", ""))  # "&#13;"
        elif tag.name == "table" and not tag.find("table"):
            self._table(tag)
        elif tag.name in ("ul", "ol", "menu"):
            self._list(tag)
        else:
            self.write(tag)

    def _list(self, tag: Tag) -> None:
        """Write a list line by line, with items indented by the depth of the list."""
        outer = self._prefix
        indent = " " * len(outer)
        children = (child for child in tag.children if isinstance(child, Tag))
        for number, item in enumerate(children, start=1):
            self._prefix = indent + (f"{number}. " if tag.name == "ol" else "- ")
            self._gap = "\n\n" if number == 1 and not outer else "\n"
            self._tag(item)
            self.flush()
        self._prefix, self._gap = outer, "\n\n"

    def _table(self, tag: Tag) -> None:
        if caption := tag.find("caption"):
            self.writer.block(" ".join(caption.get_text().split()))
        rows = tag.find_all("tr")
        self.writer.table([[c.get_text(" ") for c in r.find_all(["td", "th"])] for r in rows])


def _hidden(tag: Tag) -> bool:
    return (
        tag.name in _SKIPPED
        or tag.has_attr("hidden")
        or tag.get("aria-hidden") == "true"
        or tag.get("role") in ("navigation", "search")
    )
