"""The text of a paragraph of Word: its runs in order, with what stands beside it apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from m3rag.documents.markup import attribute, local
from m3rag.documents.plain_text import SYMBOL_BULLETS, visible
from m3rag.documents.word.formulas import linear

_CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "ptab": "\t"}
# Deleted text, text that was moved away, the code of fields, and the reading above a character.
_SKIPPED = frozenset(["del", "moveFrom", "instrText", "delText", "rt", "pPr", "rPr", "Fallback"])
_NOTES = {"footnoteReference": "footnotes", "endnoteReference": "endnotes"}
COMMENTS = "comments"
"""The part that has the comments."""
_DEEPEST = 200


@dataclass(slots=True)
class Inline:
    """The text of a paragraph.

    Attributes:
        text: The text; references to notes are "[1]".
        notes: The notes and comments that it refers to: the part that they are in, and their id.
        boxes: The text boxes that are anchored in it.
    """

    text: str = ""
    notes: list[tuple[str, str]] = field(default_factory=list)
    boxes: list[Any] = field(default_factory=list)


def inline(paragraph: Any, numbers: dict[tuple[str, str], int]) -> Inline:
    """Return the text of a paragraph.

    Args:
        paragraph: The paragraph, or an element in one.
        numbers: The numbers of the notes so far; new ones are added.
    """
    found = Inline()
    parts: list[str] = []
    _collect(paragraph, parts, found, numbers, 0)
    found.text = "".join(parts)
    return found


def _collect(
    element: Any, parts: list[str], found: Inline, numbers: dict[tuple[str, str], int], depth: int
) -> None:
    for child in element:
        name = local(child)
        if name in _SKIPPED or depth > _DEEPEST or is_prompt(child):
            continue
        if name == "t":
            parts.append(visible(child.text or ""))
        elif name in _CHARACTERS:
            parts.append(_CHARACTERS[name])
        elif name == "sym":
            parts.append(_symbol(child))
        elif name in _NOTES:
            note = (_NOTES[name], attribute(child, "id") or "")
            found.notes.append(note)
            parts.append(f"[{numbers.setdefault(note, len(numbers) + 1)}]")
        elif name == "commentReference":
            found.notes.append((COMMENTS, attribute(child, "id") or ""))
        elif name in ("oMath", "oMathPara"):
            parts.append(linear(child))
        elif name == "txbxContent":
            found.boxes.append(child)
        else:
            _collect(child, parts, found, numbers, depth + 1)


def is_prompt(element: Any) -> bool:
    """Return whether an element is a field of a form that shows what to type and is empty."""
    if local(element) != "sdt":
        return False
    return any(local(part) == "showingPlcHdr" for group in element for part in group)


def _symbol(symbol: Any) -> str:
    """Return a character of a symbol font; only bullets have a meaning outside of it."""
    code = attribute(symbol, "char") or ""
    try:
        character = chr(int(code, 16))
    except (ValueError, OverflowError):
        return ""
    if character in SYMBOL_BULLETS:
        return "•"
    return "" if "\ue000" <= character <= "\uf8ff" else character
