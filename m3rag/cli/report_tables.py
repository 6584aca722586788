"""The tables that `m3rag evaluate` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from m3rag.cli.output import Terminal, shown

if TYPE_CHECKING:
    from m3rag.evaluation import Difference, Report

    Differences = Mapping[str, Mapping[str, Difference]]

_NAMES = {"ndcg": "nDCG", "recall": "R", "mrr": "MRR"}
_SIGNIFICANT = 0.05  # a difference with a larger p-value may be chance


def print_report(report: Report, differences: Differences, against: str | None) -> None:
    """Print the means, and the differences if there are any."""
    console = Terminal()
    first = report.metrics[0]
    parts = {"same": report.same, "cross": report.cross}
    parts = {name: rows for name, rows in parts.items() if rows} if len(report.cells) > 1 else {}
    title = f"{report.set}, {report.model}, {report.level} level"
    table = _table("", first, "95 %", *report.metrics[1:], *parts, title=title)
    intervals = report.intervals
    for name, row in report.channels.items():
        low, high = intervals[name][first]
        values = [f"{row[metric]:.3f}" for metric in report.metrics]
        values.insert(1, f"{low:.2f}–{high:.2f}")
        table.add_row(
            shown(name), *values, *(f"{rows[name][first]:.3f}" for rows in parts.values())
        )
    console.print(table)
    cells = f"{len(report.cells)} pairs of languages" if parts else "one cell"
    console.say(
        f"{len(report.keys):,} rankings, {cells}; 95 % interval by bootstrap over questions"
        + (
            f"; same, cross: {_header(first)} of queries in the documents' language, and in others."
            if parts
            else "."
        )
    )
    if report.left_out:
        console.say(
            f"{report.left_out:,} times, a query had nothing relevant in a slice of the corpus "
            "and was left out there."
        )
    if differences:
        _print_differences(console, differences, against, first)


def _print_differences(
    console: Terminal, differences: Differences, against: str | None, metric: str
) -> None:
    title = f"{_header(metric)} against {against}"
    table = _table("", "difference", "95 %", "p", title=title)
    for name, row in differences.items():
        found = row[metric]
        style = "" if found.p <= _SIGNIFICANT else "dim"
        interval = f"{found.low:+.3f} to {found.high:+.3f}"
        table.add_row(shown(name), f"{found.mean:+.3f}", interval, f"{found.p:.3f}", style=style)
    console.print(table)


def _table(*columns: str, title: str) -> Table:
    """Return a table with right-aligned numbers, narrow enough for 80 columns."""
    table = Table(title=shown(title), title_justify="left", box=SIMPLE_HEAD, collapse_padding=True)
    for number, column in enumerate(columns):
        table.add_column(
            shown(_header(column)), justify="right" if number else "left", no_wrap=True
        )
    return table


def _header(metric: str) -> str:
    """Return a metric as it is usually written, and any other word unchanged."""
    name, at, k = metric.partition("@")
    return f"{_NAMES[name]}@{k}" if at else metric
