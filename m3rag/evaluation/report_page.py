"""A report as a self-contained HTML page: tables, heat map, overlap, recall curve.

The plots are coloured table cells and one SVG. They take less than a page of code, and a plotting
library would be a heavy dependency for three simple pictures.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from m3rag.evaluation.report import CURVE, Difference, Report
from m3rag.explanation.markup import POLICY, html_text

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
  color: #222; background: #fff }
table { border-collapse: collapse; margin: .5rem 0 1rem; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .6rem; text-align: right }
th:first-child, td:first-child { text-align: left }
thead th { border-bottom: 1px solid #999 }
small { color: #666 }
svg text { font: 12px system-ui, sans-serif; fill: #444 }
details { margin: .3rem 0 }
"""
_COLOURS = (
    "#1b6ca8", "#d1495b", "#2e933c", "#7d5ba6", "#e08e45", "#3a506b", "#8d6346", "#c05299",
)  # fmt: skip
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 560, 300, 40, 30

Differences = Mapping[str, Mapping[str, Difference]]


def page(report: Report, differences: Differences | None = None) -> str:
    """Return a report as an HTML page.

    Args:
        report: The report.
        differences: The result of `Report.compare`, to show a comparison too.
    """
    title = f"{html_text(report.set)}, {html_text(report.model)}, {report.level} level"
    parts = [
        f"<h1>{title}</h1>",
        f"<p>{len(report.keys):,} rankings in {len(report.cells)} cells. A cell is one subset and "
        "one pair of languages; every mean is a mean over cells. "
        f"{report.left_out:,} times, a query had nothing relevant in a slice and was left out "
        "there.</p>",
        _means(report),
    ]
    if differences:
        parts += ["<h2>Differences</h2>", _differences(differences)]
    parts += ["<h2>Recall at depth</h2>", _curve(report)]
    if len(report.overlap) > 0:
        parts += ["<h2>Top 10 in common</h2>", _overlap(report)]
    if len(report.pairs) > 1:
        parts += [f"<h2>{html_text(report.metrics[0])} by pair of languages</h2>", _heat(report)]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8">{POLICY}'
        f"<title>{title}</title>\n"
        f"<style>{_STYLE}</style>\n{body}\n</html>\n"
    )


def _means(report: Report) -> str:
    """Return the table of means, with confidence intervals."""
    intervals = report.intervals
    rows = []
    for name, row in report.channels.items():
        cells = [html_text(name)]
        for metric in report.metrics:
            low, high = intervals[name][metric]
            cells.append(f"{row[metric]:.3f} <small>{low:.3f}–{high:.3f}</small>")
        for part in (report.same, report.cross):
            if part:
                cells.append(f"{part[name][report.metrics[0]]:.3f}")
        rows.append([f"<td>{cell}</td>" for cell in cells])
    head = ["", *report.metrics]
    head += [f"{n} {report.metrics[0]}" for n in ("same", "cross") if getattr(report, n)]
    return _table(head, rows)


def _differences(differences: Differences) -> str:
    metrics = list(next(iter(differences.values())))
    rows = []
    for name, row in differences.items():
        cells = [
            f"{d.mean:+.3f} <small>{d.low:+.3f} to {d.high:+.3f}, p = {d.p:.3f}</small>"
            for d in row.values()
        ]
        rows.append([f"<td>{cell}</td>" for cell in (html_text(name), *cells)])
    return _table(["", *metrics], rows)


def _overlap(report: Report) -> str:
    names = list(report.values)
    shares = {**report.overlap, **{(b, a): x for (a, b), x in report.overlap.items()}}
    rows = [
        [f"<td>{html_text(a)}</td>", *(_shaded(1.0 if a == b else shares[a, b]) for b in names)]
        for a in names
    ]
    return _table(["", *names], rows)


def _heat(report: Report) -> str:
    """Return a heat map for each channel: query languages down, document languages across."""
    query_languages = sorted({cell.asked for cell in report.cells})
    document_languages = sorted({cell.answered for cell in report.cells})
    pairs, metric = report.pairs, report.metrics[0]
    maps = []
    for number, name in enumerate(report.values):
        rows = []
        for query in query_languages:
            tables = [pairs.get(f"{query}-{document}") for document in document_languages]
            cells = [_shaded(table[name][metric]) if table else "<td></td>" for table in tables]
            rows.append([f"<td>{html_text(query)}</td>", *cells])
        state = " open" if number == 0 else ""
        head = ["query ↓ document →", *document_languages]
        maps.append(
            f"<details{state}><summary>{html_text(name)}</summary>{_table(head, rows)}</details>"
        )
    return "\n".join(maps)


def _curve(report: Report) -> str:
    """Return the plot of recall over the depth of the ranking, on a logarithmic axis."""
    parts = []
    for depth in CURVE:
        x = _x(depth)
        parts.append(f'<line x1="{x:.1f}" y1="{_y(0):.1f}" x2="{x:.1f}" y2="{_y(1):.1f}" '
                     'stroke="#eee"/>')  # fmt: skip
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{depth}</text>')
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<text x="0" y="{_y(share) + 4:.1f}">{share:g}</text>')
    for number, (name, recall) in enumerate(report.curve.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(f"{_x(depth):.1f},{_y(value):.1f}" for depth, value in recall.items())
        y = 20 + 18 * number
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" '
                     'stroke-width="2"/>')  # fmt: skip
        parts.append(f'<line x1="{_WIDTH + 15}" x2="{_WIDTH + 35}" y1="{y}" y2="{y}" '
                     f'stroke="{colour}" stroke-width="2"/>')  # fmt: skip
        parts.append(f'<text x="{_WIDTH + 42}" y="{y + 4}">{html_text(name)}</text>')
    height = max(_HEIGHT, 20 + 18 * len(report.curve))
    return (
        f'<svg viewBox="0 0 {_WIDTH + 180} {height}" width="{_WIDTH + 180}" role="img" '
        f'aria-label="Recall at depth">{"".join(parts)}</svg>'
    )


def _x(depth: int) -> float:
    return _LEFT + (_WIDTH - _LEFT) * math.log(depth) / math.log(CURVE[-1])


def _y(share: float) -> float:
    return 10 + (_HEIGHT - _BOTTOM - 10) * (1 - share)


def _shaded(share: float) -> str:
    """Return a table cell between white and blue, with light text on dark blue."""
    colour = "#fff" if share > 0.6 else "#222"
    return (
        f'<td style="background:rgba(27,108,168,{max(share, 0):.2f});color:{colour}">'
        f"{share:.2f}</td>"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{html_text(cell)}</th>" for cell in head)
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table>"
