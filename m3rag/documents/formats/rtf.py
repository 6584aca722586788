r"""Rich text (.rtf): paragraphs, headings, lists and tables, in order; notes come last.

The parser uses striprtf, because it decodes all code pages and is released often. striprtf returns
plain text only, so the control words for headings, list levels and cells are put into its input a
second time, as private characters.
"""

from __future__ import annotations

import re

from striprtf.striprtf import rtf_to_text

from m3rag.documents.decoding import check_length
from m3rag.documents.formats.content import UNLIMITED, Budget, Content, Writer
from m3rag.documents.plain_text import paired, visible
from m3rag.errors import DocumentError

_FIRST = 0xE5A0  # the first of the private characters
_LEVELS = 10  # of headings and lists; level 0 of a heading is the title
_HEADING, _LIST = _FIRST, _FIRST + _LEVELS  # with the level added
_CELL, _ROW, _IN_TABLE, _DEFINED, _EDGE = (chr(_FIRST + 2 * _LEVELS + at) for at in range(5))
_PRIVATE = re.compile(f"[{chr(_FIRST)}-{_EDGE}]")
_PIECE = re.compile(f"(\n|{_CELL}|{_ROW}|{_DEFINED}|{_EDGE}-?\\d+{_EDGE})")
_SAME_EDGE = 30  # twips, 0.5 mm, by which the right edges of cells in one column may differ
_HEADING_MARK = re.compile(f"[{chr(_HEADING)}-{chr(_HEADING + _LEVELS - 1)}]")
_LIST_MARK = re.compile(f"[{chr(_LIST)}-{chr(_LIST + _LEVELS - 1)}]")
_WORD = re.compile(
    r"(?<!\\)(?P<before>(?:\\\\)*)\\(?P<word>outlinelevel|ilvl|s|nestcell|cellx|cell|nestrow|row|trowd|"
    r"intbl)(?P<number>-?\d*)(?![a-zA-Z0-9-]) ?"
)
_STYLE = re.compile(r"\{\\s(\d+)(?!\d)[^{}]*?(?:heading (\d)|title);\}", re.IGNORECASE)
_APART = re.compile(r"\{(?:\s*\\[*a-z]+-?\d* ?)*?\\(?:footnote|shptxt)(?![a-z])")
_MOST_APART, _MOST_FONTS = 10_000, 5_000
_AUTOMATIC = re.compile(r" *\\chftn(?![a-z]) ?")  # the number of a note, which a reader counts
_BULLET = re.compile(r"(?:[•·▪◦§\ue000-\uf8ff-]|(\d{1,3}[.)]))\t")  # or one of a symbol font
_NOTE = re.compile(r"\A(\[\d+\])\s+")  # many programs put a tab between the number and the note
_TITLE = re.compile(r"\{\\title (?P<title>(?:[^{}\\]|\\.)*)\}")


def parse(data: bytes, budget: Budget = UNLIMITED) -> Content:
    """Return the text of a document; headers and footers are left out."""
    if not data.lstrip().startswith(b"{\\rtf"):
        raise DocumentError("it is no rich text. Give it the suffix of what it is.")
    source = _notes_last(data.decode("latin-1"))
    start = source.find("{\\fonttbl")
    fonts = source.count("{\\f", start, _group_end(source, start + 1)) if start >= 0 else 0
    if fonts > _MOST_FONTS:  # striprtf takes quadratic time
        raise DocumentError(f"it has {fonts:,} fonts, so it is damaged. Save it again.")
    styles = {number: int(level or 0) for number, level in _STYLE.findall(source)}
    text = _plain(_WORD.sub(lambda word: _marked(word, styles), source))
    paragraphs = _Paragraphs(titled=chr(_HEADING) in text)
    for piece in _PIECE.split(text):
        paragraphs.add(piece)
        check_length(paragraphs.writer.length, budget.limits)
    paragraphs.add("\n")
    paragraphs.end_table()
    titles = _TITLE.findall(source)  # the last one, because old programs come first
    name = _plain(f"{{\\rtf1 {titles[-1]}}}") if titles else None
    return paragraphs.writer.content(title=name)


def _plain(source: str) -> str:
    """Return what striprtf reads; halves of surrogate pairs become one character."""
    text: str = rtf_to_text(source, errors="replace")  # type: ignore[no-untyped-call]
    text = text.replace("\r\n", "\n").replace("\0", "")
    return visible(paired(text))


def _notes_last(source: str) -> str:
    """Return the file with the contents of its notes and text boxes at the end."""
    parts: list[str] = []
    apart: list[str] = []
    at = number = 0
    for found in _APART.finditer(source):
        if found.start() < at or len(apart) == _MOST_APART:
            continue
        end = _group_end(source, found.end())
        mark = f"[{number + 1}]"
        before, marked = _AUTOMATIC.subn(mark, source[at : found.start()])
        number += marked > 0
        note = _AUTOMATIC.sub(f"{mark} ", source[found.end() : end])
        parts.append(before)
        apart.append(f"\\par\\pard\\plain {{{note}}}")
        at = end + 1
    whole = "".join([*parts, source[at:]])
    last = whole.rfind("}")
    return f"{whole[:last]}{''.join(apart)}}}" if apart else whole


def _group_end(source: str, start: int) -> int:
    """Return where the group ends that a position is in."""
    depth = 1
    for brace in re.compile(r"\\.|[{}]", re.DOTALL).finditer(source, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if not depth:
            return brace.start()
    return len(source)


def _marked(word: re.Match[str], styles: dict[str, int]) -> str:
    """Return a control word with its private character, or only that for the end of a cell."""
    name, number = word["word"], word["number"]
    if name == "s":
        mark = chr(_HEADING + styles[number]) if number in styles else ""
    elif name == "outlinelevel":
        mark = chr(_HEADING + 1 + int(number)) if number and int(number) < _LEVELS - 1 else ""
    elif name == "ilvl":
        mark = chr(_LIST + int(number)) if number and int(number) < _LEVELS else ""
    elif name == "cellx":
        edge = f"\\u{ord(_EDGE)} "
        return f"{word['before']}{{\\uc0{edge}{number}{edge}}}" if number.strip("-") else word[0]
    elif name == "trowd":
        mark = _DEFINED
    else:
        mark = _IN_TABLE if name == "intbl" else _CELL if name.endswith("cell") else _ROW
    shown = f"{{\\uc0\\u{ord(mark)} }}" if mark else ""
    kept = "" if mark in (_CELL, _ROW) else word[0][len(word["before"]) :]
    return f"{word['before']}{kept}{shown}"


class _Paragraphs:
    """The paragraphs of a text with private characters, one piece at a time."""

    def __init__(self, *, titled: bool) -> None:
        self.writer = Writer()
        self._titled = titled
        self._text = ""
        self._cell: list[str] = []  # paragraphs of the cell that is open
        self._row: list[str] = []
        self._edges: list[int] = []  # the right edges of the cells of the row, in twips
        self._all_edges: list[list[int]] = []
        self._rows: list[list[str]] = []
        self._in_list = False

    def add(self, piece: str) -> None:
        """Add text, the end of a paragraph, a cell or a row, or what the file says of a row."""
        if piece == _DEFINED:
            self._edges = []
        elif piece.startswith(_EDGE):
            self._edges.append(int(piece.strip(_EDGE)))
        elif piece == _CELL:
            self._row.append("\n".join([*self._cell, self._text]))
            self._text, self._cell = "", []
        elif piece == _ROW:
            self._rows.append([_PRIVATE.sub("", cell) for cell in self._row])
            self._all_edges.append(self._edges)
            self._row = []
        elif piece != "\n":
            self._text += piece
        elif self._row or _IN_TABLE in self._text:
            self._cell.append(self._text)
            self._text = ""
        else:
            self.end_table()
            self._paragraph(self._text)
            self._text = ""

    def end_table(self) -> None:
        """Write the table, if there is one."""
        widest = max(self._all_edges, key=len, default=[])
        rows = zip(self._rows, self._all_edges, strict=True)
        self.writer.table([_in_columns(row, edges, widest) for row, edges in rows])
        self._rows, self._all_edges = [], []

    def _paragraph(self, text: str) -> None:
        heading, level = _HEADING_MARK.search(text), _LIST_MARK.search(text)
        text = _NOTE.sub(r"\1 ", _PRIVATE.sub("", text).strip(" \n"))
        if heading:
            self.writer.heading(max(ord(heading[0]) - _HEADING + self._titled, 1), text)
            self._in_list = False
        elif text.strip():
            item = _BULLET.match(text)
            if item:
                indent = "  " * (ord(level[0]) - _LIST if level else 0)
                text = f"{indent}{item[1] or '-'} {text[item.end() :]}"
            self.writer.block(text, gap="\n" if item and self._in_list else "\n\n")
            self._in_list = bool(item)


def _in_columns(row: list[str], edges: list[int], columns: list[int]) -> list[str]:
    """Return the cells of a row with an empty one for each column that another cell covers.

    Args:
        row: The cells.
        edges: The right edges of the cells, in twips.
        columns: Those of the row with the most cells. A row with other edges stays as it is.
    """
    if not len(row) == len(edges) < len(columns):
        return row
    placed: list[str] = []
    for cell, edge in zip(row, edges, strict=True):
        ends = (i for i, column in enumerate(columns) if abs(column - edge) <= _SAME_EDGE)
        end = next(ends, -1)
        if end < len(placed):
            return row
        placed += [cell, *[""] * (end - len(placed))]
    return placed
