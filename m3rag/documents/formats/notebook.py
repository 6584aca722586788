"""Jupyter notebooks (.ipynb): the cells in order, without their outputs.

The parser reads the JSON itself: nbformat needs eight packages to check what is only read here.
"""

from __future__ import annotations

import json
import re
from typing import Any

from m3rag.documents.formats import markdown
from m3rag.documents.formats.content import Content, Writer
from m3rag.errors import DocumentError

_FENCE = re.compile(r"^`{3,}", re.MULTILINE)


def parse(text: str) -> Content:
    """Return the Markdown of a notebook as it is, and its code as fenced blocks."""
    try:
        notebook = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DocumentError(f"it is no notebook: {error}. Save it again in Jupyter.") from error
    if not isinstance(notebook, dict) or not isinstance(cells := _cells(notebook), list):
        raise DocumentError("it is no notebook: it has no cells. Save it again in Jupyter.")
    language = _language(notebook)
    writer = Writer()
    for cell in cells:
        kind = cell.get("cell_type") if isinstance(cell, dict) else None
        source = _source(cell) if kind else ""
        if kind == "markdown":
            writer.include(markdown.parse(source.strip("\n").rstrip()))
        elif kind == "heading":  # of version 3
            writer.heading(int(cell.get("level", 1)), source)
        elif kind == "code" and source.strip():
            longest = max((len(fence) for fence in _FENCE.findall(source)), default=2)
            fence = "`" * (longest + 1)
            writer.block(f"{fence}{language}\n{source.rstrip()}\n{fence}")
        else:
            writer.block(source)
    return writer.content()


def _cells(notebook: dict[str, Any]) -> Any:
    if "worksheets" in notebook:  # version 3
        return [cell for sheet in notebook["worksheets"] for cell in sheet["cells"]]
    return notebook.get("cells")


def _source(cell: dict[str, Any]) -> str:
    """Return the text of a cell, a string or a list of lines."""
    source = cell.get("source", cell.get("input", ""))
    text = "".join(source) if isinstance(source, list) else str(source)
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def _language(notebook: dict[str, Any]) -> str:
    metadata = notebook.get("metadata")
    info = metadata.get("language_info") if isinstance(metadata, dict) else None
    name = info.get("name") if isinstance(info, dict) else None
    return name if isinstance(name, str) and name.isidentifier() else ""
