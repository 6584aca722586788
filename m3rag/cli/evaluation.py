"""`m3rag evaluate`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from m3rag.cli.pages import write_page
from m3rag.errors import InputError
from m3rag.evaluation import (
    Difference,
    Report,
    RetrievalSet,
    Scores,
    measure,
    read_run,
    score,
    score_run,
    write_runs,
)
from m3rag.evaluation.evaluating import named_systems
from m3rag.evaluation.html import page
from m3rag.evaluation.metrics import check_metrics
from m3rag.model import M3Model
from m3rag.scoring import Weights

_NAMES = {"ndcg": "nDCG", "recall": "R", "mrr": "MRR"}
_ALMOST = 0.05  # a p-value above this is no more than chance may do
Differences = dict[str, dict[str, Difference]]


@dataclass(frozen=True)
class Asked:
    """The options of one `m3rag evaluate`, as they were given."""

    source: str
    model: str
    pairs: str
    level: str
    long: str
    aggregate: str
    max_tokens: int
    channels: str
    weights: Sequence[str]
    metrics: str
    every: int
    run: Path | None
    against: str | None


def run(asked: Asked, *, as_json: bool, html: Path | None, runs: Path | None) -> None:
    """Evaluate, and print a table or JSON; write the HTML page and the run files asked for."""
    weights = _check(asked)  # a slip is told before the work
    data = RetrievalSet.read(asked.source)
    with progress_bars() as tell:
        scores = _scores(asked, data, tell)
        if runs is not None:
            write_runs(scores, runs, weights=weights)
        metrics = _listed(asked.metrics)
        report = measure(scores, weights=weights, metrics=metrics, progress=tell)
        differences = _compare(asked, data, scores, report) if asked.against else {}
    if html is not None:
        write_page(html, page(report, differences))
    if as_json:
        found = report.to_dict()
        if differences:
            found["against"] = {
                name: {metric: asdict(d) for metric, d in row.items()}
                for name, row in differences.items()
            }
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        _print(report, differences, asked.against)


def _check(asked: Asked) -> list[Weights] | None:
    """Check what needs neither data nor model; gives the fusions, None for the usual ones."""
    check_metrics(_listed(asked.metrics))
    if asked.run is None:
        weights = [parse_weights_option(given) for given in asked.weights] or None
        named_systems(_listed(asked.channels), weights)
        return weights
    usual = (asked.level, asked.long, asked.aggregate) == ("page", "passages", "max")
    if asked.weights or not usual:
        raise InputError(
            "--run holds finished rankings of documents: leave out --weights, --level, --long and "
            "--aggregate."
        )
    return []


def parse_weights_option(given: str) -> Weights:
    """A preset's name, or numbers such as "1/0.3/1".

    Raises:
        InputError: something between the slashes is not a number.
    """
    if "/" not in given:
        return given
    try:
        return tuple(float(part) for part in given.split("/"))
    except ValueError:
        raise InputError(f"--weights {given!r} is neither a name nor numbers as 1/0.3/1.") from None


def _scores(asked: Asked, data: RetrievalSet, tell: Callable[[str, int, int], object]) -> Scores:
    """The scores of the model, or those of a run file."""
    pairs = asked.pairs if asked.pairs in ("all", "pooled") else _listed(asked.pairs)
    if asked.run is not None:
        tag, run = read_run(asked.run)
        return score_run(run, data, name=tag, pairs=pairs, every=asked.every)
    with M3Model.load(asked.model) as model:
        return score(
            model,
            data,
            channels=_listed(asked.channels),
            pairs=pairs,
            level=asked.level,
            every=asked.every,
            long=asked.long,
            aggregate=asked.aggregate,
            max_tokens=asked.max_tokens,
            progress=tell,
        )


def _compare(asked: Asked, data: RetrievalSet, scores: Scores, report: Report) -> Differences:
    """Against another channel of the same table, or against the rankings of a file."""
    assert asked.against is not None
    if asked.against in report.values:
        return report.compare(report, to=asked.against)
    path = Path(asked.against)
    if not path.is_file():
        raise InputError(
            f"--against {asked.against!r} is neither a file in TREC's run format nor a row of this "
            f"table ({', '.join(report.values)})."
        )
    tag, run = read_run(path)
    other = measure(score_run(run, data, name=tag, like=scores), metrics=report.metrics)
    return report.compare(other, to=tag)


def _listed(given: str) -> list[str]:
    return [part for part in (part.strip() for part in given.split(",")) if part]


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], object]]:
    """A bar for each stage, on standard error."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    tasks = {}

    def tell(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage)
        bar.update(tasks[stage], completed=done, total=total)

    with bar:
        yield tell


def _print(report: Report, differences: Differences, against: str | None) -> None:
    console = Console()
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
        table.add_row(name, *values, *(f"{rows[name][first]:.3f}" for rows in parts.values()))
    console.print(table, highlight=False)
    cells = f"{len(report.cells)} pairs of languages" if parts else "one cell"
    console.print(
        f"{len(report.keys):,} rankings, {cells}; 95 % interval by bootstrap over questions"
        + (
            f"; same, cross: {_header(first)} of queries in the documents' language, and in others."
            if parts
            else "."
        ),
        highlight=False,
    )
    if report.left_out:
        console.print(
            f"{report.left_out:,} times a query had nothing relevant in a slice of the corpus, and "
            "was left out there.",
            highlight=False,
        )
    if differences:
        _print_differences(console, differences, against, first)


def _print_differences(
    console: Console, differences: Differences, against: str | None, metric: str
) -> None:
    title = f"{_header(metric)} against {against}"
    table = _table("", "difference", "95 %", "p", title=title)
    for name, row in differences.items():
        found = row[metric]
        style = "" if found.p <= _ALMOST else "dim"
        interval = f"{found.low:+.3f} to {found.high:+.3f}"
        table.add_row(name, f"{found.mean:+.3f}", interval, f"{found.p:.3f}", style=style)
    console.print(table, highlight=False)


def _table(*columns: str, title: str) -> Table:
    """Numbers to the right, and narrow enough for 80 characters."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, collapse_padding=True)
    for number, column in enumerate(columns):
        table.add_column(_header(column), justify="right" if number else "left", no_wrap=True)
    return table


def _header(metric: str) -> str:
    """A metric as people write it; any other word as it is."""
    name, at, k = metric.partition("@")
    return f"{_NAMES[name]}@{k}" if at else metric
