"""Formulas of web pages (MathML) as a line of text: "E=mc^2", "(a+b)/c"."""

from __future__ import annotations

from bs4 import Tag
from bs4.element import NavigableString

from m3rag.documents.word.formulas import grouped

_SKIPPED = ("annotation", "annotation-xml", "mphantom", "none", "mprescripts")
_DEEPEST = 50
_INVISIBLE = dict.fromkeys([0x2061, 0x2062, 0x2063, 0x2064])  # "apply function", "times" and so on


def linear(formula: Tag, depth: int = 0) -> str:
    """Return a formula in the linear form of Unicode's mathematics (UTN #28), simplified."""
    if depth > _DEEPEST:
        return formula.get_text()
    parts = []
    for child in formula.children:
        if isinstance(child, Tag):
            if child.name not in _SKIPPED:
                parts.append(linear(child, depth + 1))
        elif type(child) is NavigableString and child.strip():
            parts.append(" ".join(child.split()).translate(_INVISIBLE))
    one, two, three = ([grouped(part) for part in parts] + ["", "", ""])[:3]
    match formula.name:
        case "mfrac":
            return f"{one}/{two}"
        case "msup" | "mover":
            return f"{one}^{two}"
        case "msub" | "munder":
            return f"{one}_{two}"
        case "msubsup" | "munderover":
            return f"{one}_{two}^{three}"
        case "msqrt":
            return f"√({''.join(parts)})"
        case "mroot":
            return f"{two}√({parts[0] if parts else ''})"
        case "mtable":
            return "; ".join(parts)
        case "mtr":
            return " ".join(parts)
        case "mspace":
            return " "
    return "".join(parts)
