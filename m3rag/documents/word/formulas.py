"""Formulas of Office files (OMML) as a line of text: "E=mc^2", "(a+b)/c", "∑_(i=1)^n x_i"."""

from __future__ import annotations

from typing import Any

_PROPERTIES = "Pr"  # elements with this end say how a formula looks
_DEEPEST = 50


def linear(formula: Any, depth: int = 0) -> str:
    """Return a formula in the linear form of Unicode's mathematics (UTN #28), simplified."""
    if depth > _DEEPEST:
        return "".join(formula.itertext())
    name = _name(formula)
    if name == "t":
        return formula.text or ""
    parts = {
        _name(child): linear(child, depth + 1)
        for child in formula
        if not _name(child).endswith(_PROPERTIES)
    }
    match name:
        case "f":
            return f"{_grouped(parts.get('num', ''))}/{_grouped(parts.get('den', ''))}"
        case "sSup" | "sSub" | "sSubSup" | "sPre":
            return f"{_grouped(parts.get('e', ''))}{_scripts(parts)}"
        case "rad":
            degree = parts.get("deg", "")
            return f"{f'{degree}' if degree else ''}√({parts.get('e', '')})"
        case "nary":
            sign = _value(formula, "chr") or "∫"
            return f"{sign}{_scripts(parts)} {parts.get('e', '')}"
        case "func":
            return f"{parts.get('fName', '')} {parts.get('e', '')}"
        case "limLow":
            return f"{parts.get('e', '')}_{_grouped(parts.get('lim', ''))}"
        case "limUpp":
            return f"{parts.get('e', '')}^{_grouped(parts.get('lim', ''))}"
        case "d":
            begin, end = _value(formula, "begChr"), _value(formula, "endChr")
            inside = (linear(child, depth + 1) for child in formula if _name(child) == "e")
            opening, closing = "(" if begin is None else begin, ")" if end is None else end
            return f"{opening}{','.join(inside)}{closing}"
        case "m" | "eqArr":
            row = "mr" if name == "m" else "e"
            rows = (child for child in formula if _name(child) == row)
            return "; ".join(" ".join(_entries(child, depth)) for child in rows)
    children = (child for child in formula if not _name(child).endswith(_PROPERTIES))
    return "".join(linear(child, depth + 1) for child in children)


def _entries(row: Any, depth: int) -> list[str]:
    if _name(row) == "e":
        return [linear(row, depth + 1)]
    return [linear(child, depth + 1) for child in row if _name(child) == "e"]


def _scripts(parts: dict[str, str]) -> str:
    low, high = parts.get("sub", ""), parts.get("sup", "")
    return f"{f'_{_grouped(low)}' if low else ''}{f'^{_grouped(high)}' if high else ''}"


def _grouped(text: str) -> str:
    """Return a part of a formula in brackets, unless it is one letter or number."""
    return text if text.isalnum() or len(text) <= 1 else f"({text})"


def _value(formula: Any, name: str) -> str | None:
    """Return a property of a formula, such as the bracket that it begins with."""
    for child in formula:
        if _name(child).endswith(_PROPERTIES):
            for found in child:
                if _name(found) == name:
                    values = [v for k, v in found.attrib.items() if k.endswith("}val")]
                    return values[0] if values else None
    return None


def _name(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]
