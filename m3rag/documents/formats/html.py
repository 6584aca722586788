"""HTML: the visible part of a page, as text with its paragraphs, lists and tables.

The parser uses beautifulsoup4 on lxml, because together they read any page that browsers do,
including broken ones.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator

from bs4 import BeautifulSoup, MarkupResemblesLocatorWarning, Tag, XMLParsedAsHTMLWarning
from bs4.element import NavigableString, PreformattedString

from m3rag.documents.formats.content import Content, Writer
from m3rag.documents.formats.mathml import linear
from m3rag.documents.numerals import letters, roman
from m3rag.documents.plain_text import visible

# Elements that are not part of the page's text.
_SKIPPED_TAGS = (
    "head script style noscript template nav footer svg iframe object canvas button select "
    "textarea annotation"
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_INLINE_TAGS = (
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark nobr "
    "output q rp rt ruby s samp small span strike strong sub sup time tt u var wbr img"
)
_SKIPPED, _INLINE = frozenset(_SKIPPED_TAGS.split()), frozenset(_INLINE_TAGS.split())
_BLOCKS = ("p", "div", "ul", "ol", "dl", "pre", "form", "section", "article", *_HEADINGS)
_MAX_DEPTH = 100  # nesting below this level is flattened; broken pages have thousands of levels
_MOST_COVERED = 64  # cells that one cell covers
_NUMERALS: dict[str, Callable[[int], str]] = {
    "a": letters,
    "A": lambda number: letters(number).upper(),
    "i": roman,
    "I": lambda number: roman(number).upper(),
}
_SPACE = re.compile(r"\s+")
_SPACE_RUN = re.compile(r"[^\S\n]{2,}")
_LINE_SPACE = re.compile(r"[^\S\n]*\n[^\S\n]*")
# Links that a program puts into headings: to the heading itself, or to an editor.
_OWN_LINKS = re.compile(r"[#¶§🔗\s]*|\[\s*\w+(?:\s*[|·]\s*\w+)*\s*\]")
_OWN_CLASSES = frozenset(["mw-editsection", "headerlink", "anchor", "anchorlink", "hash-link"])


def parse(text: str) -> Content:
    """Return the text of a page."""
    soup = tree(visible(text))
    title = visible(soup.title.get_text()) if soup.title else None
    main = soup.find("main") or soup.find(role="main")
    body = main if isinstance(main, Tag) and main.get_text(strip=True) else soup.body or soup
    page = _Page()
    page.write(body)
    page.flush()
    return page.writer.content(title=title)


def tree(markup: str | bytes) -> BeautifulSoup:
    """Return the tree of a page, without Beautiful Soup's warnings about what it may be instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)
        warnings.simplefilter("ignore", MarkupResemblesLocatorWarning)
        return BeautifulSoup(markup, "lxml")


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
            self._line.append(_text(parent))
            return
        self._depth += 1
        for child in parent.children:
            if isinstance(child, Tag):
                self._tag(child)
            elif isinstance(child, NavigableString) and not isinstance(child, PreformattedString):
                self._line.append(_in_line(child))
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
        elif tag.name == "math":
            self._line.append(linear(tag))
        elif tag.name in _INLINE:
            self.write(tag)
        else:
            self.flush()
            self._block(tag)
            self.flush()

    def _block(self, tag: Tag) -> None:
        if tag.name in _HEADINGS:
            self.writer.heading(_HEADINGS[tag.name], _title(tag))
        elif tag.name == "pre":
            for br in tag.find_all("br"):
                br.replace_with("\n")
            self.writer.block(visible(tag.get_text().replace("\r", "")))  # "&#13;"
        elif tag.name == "table" and not _arranges(tag):
            self._table(tag)
        elif tag.name in ("ul", "ol", "menu"):
            self._list(tag)
        else:
            self.write(tag)

    def _list(self, tag: Tag) -> None:
        """Write a list line by line, with items indented by the depth of the list."""
        outer = self._prefix
        indent = " " * len(outer)
        for place, (item, mark) in enumerate(_items(tag)):
            self._prefix = indent + mark
            self._gap = "\n" if place or outer else "\n\n"
            self._tag(item)
            self.flush()
        self._prefix, self._gap = outer, "\n\n"

    def _table(self, tag: Tag) -> None:
        if caption := tag.find("caption"):
            self.writer.block(" ".join(_text(caption).split()))
        rows: list[list[str]] = []
        below: dict[int, int] = {}  # a column: the rows that a cell above still covers
        for row in tag.find_all("tr"):
            cells: list[str] = []
            for cell in row.find_all(["td", "th"]):
                while below.get(len(cells), 0) > 0:
                    below[len(cells)] -= 1
                    cells.append("")
                covered = _number(cell, "rowspan") - 1
                for i in range(_number(cell, "colspan")):
                    below[len(cells)] = covered
                    cells.append("" if i else _text(cell))
            rows.append(cells)
        self.writer.table(rows)


def _hidden(tag: Tag) -> bool:
    return (
        tag.name in _SKIPPED
        or tag.has_attr("hidden")
        or tag.get("aria-hidden") == "true"
        or tag.get("role") in ("navigation", "search")
        or "mw-editsection" in (tag.get("class") or ())
    )


def _in_line(text: str) -> str:
    return _SPACE.sub(" ", visible(text))


def _text(tag: Tag) -> str:
    """Return the text of a tag in one line, with formulas as text."""
    parts: list[str] = []
    open_tags = [iter(tag.children)]
    while open_tags:
        item = next(open_tags[-1], None)
        if item is None:
            open_tags.pop()
        elif isinstance(item, Tag):
            if item.name == "math":
                parts.append(linear(item))
            elif not _hidden(item):
                parts.append("" if item.name in _INLINE else " ")
                open_tags.append(iter(item.children))
        elif isinstance(item, NavigableString) and not isinstance(item, PreformattedString):
            parts.append(_in_line(item))
    return "".join(parts)


def _title(tag: Tag) -> str:
    """Return the text of a heading without the links that a program put there."""
    for link in tag.find_all(["a", "span"]):
        text = "" if link.decomposed else link.get_text().strip()
        marked = _OWN_CLASSES & set(link.get("class") or ()) if text else ()
        own = marked or (text and str(link.get("href", "")).startswith("#"))
        if own and _OWN_LINKS.fullmatch(text):
            link.decompose()
    return _text(tag)


def _arranges(table: Tag) -> bool:
    """Return whether a table only arranges blocks on the page, as pages did before 2000."""
    if table.get("role") in ("presentation", "none") or table.find("table"):
        return True
    if table.find(["th", "caption", "thead"]):
        return False
    rows = table.find_all("tr")
    if all(len(row.find_all("td")) < 2 for row in rows):
        return True
    return any(len(cell.find_all(_BLOCKS, recursive=False)) > 1 for cell in table.find_all("td"))


def _items(tag: Tag) -> Iterator[tuple[Tag, str]]:
    """Yield the items of a list, each with its bullet or number."""
    number = _counted(tag, "start", 1)
    for item in tag.children:
        if not isinstance(item, Tag):
            continue
        if item.name != "li":  # a list that should be in the item before
            yield item, "  "
        elif tag.name != "ol":
            yield item, "- "
        else:
            number = _counted(item, "value", number)
            form = _NUMERALS.get(str(item.get("type", tag.get("type"))), str)
            yield item, f"{form(number)}. "
            number += 1


def _counted(tag: Tag, name: str, otherwise: int) -> int:
    text = str(tag.get(name))
    return int(text) if re.fullmatch(r"-?\d{1,9}", text) else otherwise


def _number(cell: Tag, name: str) -> int:
    text = str(cell.get(name, "1"))
    return max(1, min(int(text), _MOST_COVERED)) if text.isdecimal() and len(text) < 9 else 1
