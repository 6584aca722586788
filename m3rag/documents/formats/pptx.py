"""PowerPoint presentations (.pptx): the slides in their order, each with its notes.

The parser reads the XML itself: python-pptx, the library for this format, was last released in
2024, imports an imaging library, and knows no text of diagrams and formulas. A slide is a
page, and its title a heading.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from m3rag.documents.decoding import check_length
from m3rag.documents.formats.archive import Archive, refuse_old
from m3rag.documents.formats.content import UNLIMITED, Budget, Content, Writer
from m3rag.documents.markup import attribute, descendants, local, parse_xml
from m3rag.documents.plain_text import visible
from m3rag.errors import DocumentError

_TITLES = {"ctrTitle": 1, "title": 2}  # placeholder: level; the first is that of a title slide
_REPEATED = ("dt", "ftr", "hdr", "sldNum", "sldImg")  # placeholders: date, footer, number
_LISTS = ("body", "obj")  # placeholders whose paragraphs are list items; "obj" is the default
_DEEPEST = 32  # groups in groups
_Relations = dict[str, tuple[str, str]]  # id: the last word of the type, the path of the part


def parse(data: bytes, budget: Budget = UNLIMITED) -> Content:
    """Return the text of all slides, hidden ones included."""
    refuse_old(data, ".ppt")
    archive = Archive(data, budget.limits)
    main = _target(_relations(archive, ""), "officeDocument")
    if not (source := archive.read(main)):
        raise DocumentError(
            "it has no slides. It is damaged, or no PowerPoint file; save it again in the program "
            "that created it."
        )
    parts = _relations(archive, main)
    writer = Writer()
    for entry in descendants(parse_xml(source), "sldId"):
        writer.page()
        _, path = parts.get(_relation_id(entry), ("", ""))
        if slide := archive.read(path):
            _Slide(archive, path, parse_xml(slide)).write(writer)
        check_length(writer.length, budget.limits)
    if len(writer.pages) > budget.limits.pages:
        raise DocumentError(
            f"it has {len(writer.pages):,} slides, more than the limit of "
            f"{budget.limits.pages:,}. Split it, or raise the limit: Limits(pages=…)."
        )
    core = archive.read("docProps/core.xml")
    titles = descendants(parse_xml(core), "title") if core and not writer.headings else []
    return writer.content(title=titles[0].text if titles else None)


def _relations(archive: Archive, part: str) -> _Relations:
    """Return what a part refers to."""
    folder, name = posixpath.split(part)
    source = archive.read(posixpath.join(folder, "_rels", f"{name}.rels"))
    found: _Relations = {}
    for entry in parse_xml(source) if source else ():
        if local(entry) == "Relationship" and entry.get("TargetMode") != "External":
            target = unquote(entry.get("Target", ""))
            path = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
            found[entry.get("Id", "")] = (entry.get("Type", "").rpartition("/")[2], path)
    return found


def _target(relations: _Relations, kind: str) -> str:
    return next((path for name, path in relations.values() if name == kind), "")


def _relation_id(element: Any) -> str:
    """Return the r:id of an element; its own id has no namespace."""
    return next((str(value) for key, value in element.attrib.items() if key.endswith("}id")), "")


class _Slide:
    """One slide: its title, then its shapes in their order, which screen readers follow too."""

    def __init__(self, archive: Archive, path: str, root: Any) -> None:
        self._archive = archive
        self._relations = _relations(archive, path)
        self._root = root
        self._title: tuple[int, str] | None = None
        self._blocks: list[str | list[list[str]]] = []  # a text, or the rows of a table

    def write(self, writer: Writer) -> None:
        """Write the slide and its notes."""
        for tree in descendants(self._root, "spTree"):
            self._shapes(tree)
        if self._title:
            writer.heading(*self._title)
        for block in self._blocks:
            if isinstance(block, list):
                writer.table(block)
            else:
                writer.block(block)
        notes = self._archive.read(_target(self._relations, "notesSlide"))
        for shape in descendants(parse_xml(notes), "sp") if notes else ():
            if _placeholder(shape) == "body":
                writer.block(_paragraphs(shape, items=False))
        if not self._title:
            writer.lead(_TITLES["title"])

    def _shapes(self, parent: Any, depth: int = 0) -> None:
        for shape in parent:
            name = local(shape)
            if name == "sp":
                self._shape(shape)
            elif name == "graphicFrame":
                self._frame(shape)
            elif name == "AlternateContent":  # the first choice is the newest form
                self._shapes(shape[0] if len(shape) else shape, depth + 1)
            elif name == "grpSp" and depth < _DEEPEST:
                self._shapes(shape, depth + 1)

    def _shape(self, shape: Any) -> None:
        kind = _placeholder(shape)
        if kind in _REPEATED:
            return
        if kind in _TITLES and not self._title:
            if title := _paragraphs(shape, items=False).replace("\n", " ").strip():
                self._title = (_TITLES[kind], title)
        elif text := _paragraphs(shape, items=kind in _LISTS):
            self._blocks.append(text)

    def _frame(self, frame: Any) -> None:
        """Add a table, a chart or a diagram."""
        for table in descendants(frame, "tbl"):
            rows = [row for row in table if local(row) == "tr"]
            cells = ([cell for cell in row if local(cell) == "tc"] for row in rows)
            self._blocks.append([[_paragraphs(c, items=False) for c in row] for row in cells])
        for chart in descendants(frame, "chart"):
            _, path = self._relations.get(_relation_id(chart), ("", ""))
            if source := self._archive.read(path):
                self._blocks += _chart(parse_xml(source))
        for diagram in descendants(frame, "relIds"):
            _, path = self._relations.get(attribute(diagram, "dm") or "", ("", ""))
            if source := self._archive.read(path):
                points = descendants(parse_xml(source), "pt")
                lines = [_paragraphs(point, items=True) for point in points]
                self._blocks.append("\n".join(line for line in lines if line))


def _placeholder(shape: Any) -> str | None:
    """Return what a shape is the placeholder of; None if it is an ordinary one."""
    found = descendants(shape, "nvSpPr")
    marks = descendants(found[0], "ph") if found else []
    return str(marks[0].get("type", "obj")) if marks else None


def _paragraphs(shape: Any, *, items: bool) -> str:
    """Return the paragraphs of a shape, one a line; those of lists are indented."""
    lines = []
    for paragraph in descendants(shape, "p"):
        text = "".join(_runs(paragraph)).strip()
        properties = next((part for part in paragraph if local(part) == "pPr"), None)
        bullet = items
        level = 0
        if properties is not None:
            names = {local(part) for part in properties}
            bullet = "buNone" not in names and (items or bool(names & {"buChar", "buAutoNum"}))
            level = min(int(properties.get("lvl", "0")), 8)
        if text and bullet:
            indent = "  " * level
            text = f"{indent}- " + text.replace("\n", f"\n{indent}  ")
        if text:
            lines.append(text)
    return "\n".join(lines)


def _runs(paragraph: Any) -> Iterator[str]:
    for part in paragraph.iter():
        if local(part) == "t":  # of a run, a field, or a formula
            yield visible(part.text or "").replace("\v", "\n")
        elif local(part) == "br":
            yield "\n"


def _chart(root: Any) -> Iterator[str | list[list[str]]]:
    """Yield the title of a chart, and its numbers as a table with a column for each series."""
    titles = [child for chart in descendants(root, "chart") for child in chart]
    for title in titles:
        if local(title) == "title" and (text := _paragraphs(title, items=False)):
            yield text
    names: list[str] = [""]
    rows: dict[str, list[str]] = {}
    for series in descendants(root, "ser"):
        parts = {local(part): _points(part) for part in series}
        keys = parts.get("cat") or parts.get("xVal") or {}
        names.append(" ".join(parts.get("tx", {}).values()))
        for index, value in (parts.get("val") or parts.get("yVal") or {}).items():
            row = rows.setdefault(index, [keys.get(index, index)])
            row += [""] * (len(names) - 1 - len(row)) + [value]
    if rows:
        yield [names, *(row + [""] * (len(names) - len(row)) for row in rows.values())]


def _points(part: Any) -> dict[str, str]:
    """Return the values of a part of a series, by their number."""
    points = descendants(part, "pt")
    found = {point.get("idx", ""): "".join(v.text or "" for v in point) for point in points}
    return found or {"0": "".join(v.text or "" for v in descendants(part, "v"))}
