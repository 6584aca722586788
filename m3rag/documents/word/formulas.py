"""Formulas of Office files (OMML) as a line of text: "E=mc^2", "(a+b)/c", "∑_(i=1)^n x_i"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from m3rag.documents.markup import attribute, local

_PROPERTIES = "Pr"  # elements with this end say how a formula looks
_DEEPEST = 50


def linear(formula: Any, depth: int = 0) -> str:
    """Return a formula in the linear form of Unicode's mathematics (UTN #28), simplified."""
    if depth > _DEEPEST:
        return "".join(formula.itertext())
    name = local(formula)
    if name == "t":
        return formula.text or ""
    shown = [
        (local(child), linear(child, depth + 1))
        for child in formula
        if not local(child).endswith(_PROPERTIES)
    ]
    parts = dict(shown)
    match name:
        case "f":
            return f"{grouped(parts.get('num', ''))}/{grouped(parts.get('den', ''))}"
        case "sSup" | "sSub" | "sSubSup" | "sPre":
            return f"{grouped(parts.get('e', ''))}{_scripts(parts)}"
        case "rad":
            return f"{parts.get('deg', '')}√({parts.get('e', '')})"
        case "nary":
            sign = _value(formula, "chr") or "∫"
            return f"{sign}{_scripts(parts)} {parts.get('e', '')}"
        case "func":
            return f"{parts.get('fName', '')} {parts.get('e', '')}"
        case "limLow":
            return f"{parts.get('e', '')}_{grouped(parts.get('lim', ''))}"
        case "limUpp":
            return f"{parts.get('e', '')}^{grouped(parts.get('lim', ''))}"
        case "d":
            begin, end = _value(formula, "begChr"), _value(formula, "endChr")
            opening, closing = "(" if begin is None else begin, ")" if end is None else end
            return f"{opening}{','.join(_texts(shown, 'e'))}{closing}"
        case "m":
            return "; ".join(_texts(shown, "mr"))
        case "mr":
            return " ".join(_texts(shown, "e"))
        case "eqArr":
            return "; ".join(_texts(shown, "e"))
    return "".join(text for _, text in shown)


def _texts(shown: list[tuple[str, str]], name: str) -> Iterator[str]:
    """Yield the texts of the parts with a name."""
    return (text for kind, text in shown if kind == name)


def _scripts(parts: dict[str, str]) -> str:
    low, high = parts.get("sub", ""), parts.get("sup", "")
    return f"{f'_{grouped(low)}' if low else ''}{f'^{grouped(high)}' if high else ''}"


def grouped(text: str) -> str:
    """Return a part of a formula in brackets, unless it is one letter or number."""
    return text if text.isalnum() or len(text) <= 1 else f"({text})"


def _value(formula: Any, name: str) -> str | None:
    """Return a property of a formula, such as the bracket that it begins with."""
    for child in formula:
        if local(child).endswith(_PROPERTIES):
            for found in child:
                if local(found) == name:
                    return attribute(found, "val")
    return None
