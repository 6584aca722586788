"""HTML: what a reader sees of a page, as text with its paragraphs, lists and tables.

beautifulsoup4 on lxml, because together they read any page that browsers do, broken ones included.
"""

from __future__ import annotations

import re

from bs4 import BeautifulSoup, Tag
from bs4.element import NavigableString, PreformattedString

from m3rag.documents.formats.content import Content, Writer

# Nobody reads these as the text of the page.
_UNREAD = (
    "head script style noscript template nav footer svg iframe object canvas button select "
    "textarea annotation"
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_WITHIN_A_LINE = (
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark math nobr "
    "output q rp rt ruby s samp small span strike strong sub sup time tt u var wbr img"
)
_DROPPED, _INLINE = frozenset(_UNREAD.split()), frozenset(_WITHIN_A_LINE.split())
_DEEPEST = 100  # levels of nesting that are told apart; broken pages have thousands
_SPACE = re.compile(r"\s+")
_SPACE_RUN = re.compile(r"[^\S\n]{2,}")
_LINE_SPACE = re.compile(r"[^\S\n]*\n[^\S\n]*")


def parse(text: str) -> Content:
    """Turns a page into text."""
    soup = BeautifulSoup(text, "lxml")
    title = soup.title.get_text() if soup.title else None
    main = soup.find("main") or soup.find(role="main")
    body = main if isinstance(main, Tag) and main.get_text(strip=True) else soup.body or soup
    page = _Page()
    page.write(body)
    page.flush()
    return page.writer.content(title=title)


class _Page:
    """Walks through a page, gathering inline text until a block begins or ends."""

    def __init__(self) -> None:
        self.writer = Writer()
        self._line: list[str] = []
        self._prefix = ""
        self._gap = "\n\n"
        self._depth = 0

    def write(self, parent: Tag) -> None:
        """Writes everything in a tag."""
        if self._depth == _DEEPEST:
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
        """Ends the paragraph; the text of a list item begins with its mark."""
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
            title = tag.get_text().strip().removesuffix("¶")  # a link to itself, as Sphinx makes it
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
        """Writes a list line by line, its items indented as deep as the list is."""
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
        tag.name in _DROPPED
        or tag.has_attr("hidden")
        or tag.get("aria-hidden") == "true"
        or tag.get("role") in ("navigation", "search")
    )
