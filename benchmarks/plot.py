"""Draw two kinds of plots as SVG: bars, and lines on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent / "plots"
_COLOURS = ("#00796b", "#c2185b", "#f57c00", "#1565c0", "#6a1b9a")
_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" '
    'font-family="sans-serif" font-size="13"><rect width="{w}" height="{h}" fill="#fff"/>'
)


def bars(name: str, title: str, values: Mapping[str, float], unit: str) -> None:
    """Draw one bar for each value, on an axis that starts at 0."""
    h, most = 44 + 26 * len(values), max(values.values())
    parts = [_HEAD.format(w=640, h=h), _text(10, 22, title, bold=True)]
    for i, (label, value) in enumerate(values.items()):
        y, width = 38 + 26 * i, 270 * value / most
        parts.append(_text(10, y + 14, label))
        parts.append(f'<rect x="250" y="{y}" width="{width:.1f}" height="18" fill="#00796b"/>')
        parts.append(_text(256 + width, y + 14, f"{value:,.3g} {unit}"))
    _write(name, parts)


def lines(
    name: str, title: str, x: Sequence[float], series: Mapping[str, Sequence[float]], unit: str
) -> None:
    """Draw one line for each series over `x`, with both axes logarithmic."""
    values = [v for ys in series.values() for v in ys if v > 0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    left, right = math.log10(min(x)), math.log10(max(x))

    def at(a: float, b: float) -> tuple[float, float]:
        across = (math.log10(a) - left) / ((right - left) or 1)
        return 70 + 400 * across, 270 - 220 * (math.log10(b) - low) / ((high - low) or 1)

    parts = [_HEAD.format(w=640, h=310), _text(10, 22, title, bold=True)]
    for power in range(low, high + 1):
        _, y = at(x[0], 10.0**power)
        parts.append(f'<line x1="70" x2="470" y1="{y:.0f}" y2="{y:.0f}" stroke="#ccc"/>')
        parts.append(_text(10, y + 4, f"{10.0**power:g} {unit}"))
    parts += [_text(at(a, 10.0**low)[0] - 15, 292, f"{a:,.0f}") for a in x]
    for i, (label, ys) in enumerate(series.items()):
        points = [at(a, b) for a, b in zip(x, ys, strict=True) if b > 0]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        colour = _COLOURS[i % len(_COLOURS)]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(485, 60 + 20 * i, label, colour=colour))
    _write(name, parts)


def _text(x: float, y: float, text: str, *, bold: bool = False, colour: str = "#222") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}"{weight}>{escape(text)}</text>'


def _write(name: str, parts: Sequence[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.svg").write_text("\n".join([*parts, "</svg>"]) + "\n", "utf-8")
