"""`m3rag evaluate`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from m3rag.cli.common import write_page
from m3rag.cli.options import (
    DEFAULT_MODEL,
    Json,
    parse_list,
    parse_weights_option,
    settings_options,
)
from m3rag.errors import InputError

if TYPE_CHECKING:
    from m3rag.evaluation import Difference, Report, RetrievalSet, Scores
    from m3rag.evaluation.matrices import Aggregate
    from m3rag.evaluation.slices import Context, Level
    from m3rag.progress import Progress
    from m3rag.scoring import Weights

    Differences = dict[str, dict[str, Difference]]

_NAMES = {"ndcg": "nDCG", "recall": "R", "mrr": "MRR"}
_SIGNIFICANT = 0.05  # a difference with a larger p-value may be chance


@dataclass(frozen=True)
class _Options:
    """The options of `m3rag evaluate` that say what to measure, unparsed."""

    model: str = field(
        default=DEFAULT_MODEL,
        metadata={"help": 'Model: hub id, folder, or "tiny" (bundled, not BGE-M3).'},
    )
    pairs: str = field(
        default="all",
        metadata={
            "help": "Language pairs: all (each document language is a separate corpus), pooled "
            "(one corpus for all languages), or a list such as es-en,de-en, query "
            "language first."
        },
    )
    level: Level = field(
        default="document",
        metadata={
            "help": "What is ranked: documents, by their best passages (document), or passages "
            "(passage)."
        },
    )
    context: Context = field(
        default="passage",
        metadata={
            "help": "How passages are encoded: each alone (passage), or those of a document "
            "together (document)."
        },
    )
    mcls: int | None = field(
        default=None,
        metadata={
            "help": "Insert an <s> token before every N tokens, such as 256, for long passages."
        },
    )
    aggregate: Aggregate = field(
        default="max",
        metadata={
            "help": "Score of a document: that of its best passage (max), or the sum of its "
            "best three (sum)."
        },
    )
    max_tokens: int = field(
        default=512,
        metadata={"help": "Maximum passage length in model tokens."},
    )
    channels: str = field(
        default="dense,sparse,colbert,bm25",
        metadata={"help": "Channels to evaluate, comma-separated: dense, sparse, colbert, bm25."},
    )
    weights: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Fusion to evaluate: a preset, rrf, or numbers such as 1/0.3/1. Repeatable; "
            "defaults to all presets and rrf."
        },
    )
    metrics: str = field(
        default="ndcg@10,recall@1,recall@10,recall@100,mrr@10",
        metadata={"help": "Metrics, comma-separated: ndcg@k, recall@k, mrr@k."},
    )
    every: int = field(default=1, metadata={"help": "Use only every N-th question."})
    run: Path | None = field(
        default=None,
        metadata={"help": "Evaluate the rankings in this TREC run file; no model is loaded."},
    )
    against: str | None = field(
        default=None,
        metadata={"help": "Test the differences to a row of the table, or to a TREC run file."},
    )


@settings_options(_Options, {"weights": tuple})
def evaluate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SET",
            help="Folder with corpus.jsonl, queries.jsonl and qrels.tsv, or an ir_datasets id.",
        ),
    ],
    *,
    settings: _Options,
    runs: Annotated[
        Path | None,
        typer.Option(
            help="Write the rankings to this folder, one TREC run file per channel and fusion."
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write an HTML page with plots to this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure retrieval quality on a set of questions with known answers."""
    fusions = _check(settings)  # before the slow part
    report, differences = _evaluate(source, settings, fusions, runs)
    if html is not None:
        from m3rag.evaluation.report_page import page

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
        _print(report, differences, settings.against)


def _check(options: _Options) -> list[Weights] | None:
    """Check the options without data and model; returns the fusions, None for the defaults."""
    from m3rag.evaluation import named_systems
    from m3rag.evaluation.metrics import check_metrics
    from m3rag.model.grouping import check_mcls

    check_mcls(options.mcls)
    check_metrics(parse_list(options.metrics))
    if options.run is None:
        weights = [parse_weights_option(text) for text in options.weights] or None
        named_systems(parse_list(options.channels), weights)
        return weights
    encoding = (options.level, options.context, options.mcls, options.aggregate)
    if options.weights or encoding != ("document", "passage", None, "max"):
        raise InputError(
            "--run evaluates finished rankings of documents. Leave out --weights, --level, "
            "--context, --mcls and --aggregate."
        )
    return []


def _evaluate(
    source: str, options: _Options, fusions: list[Weights] | None, runs: Path | None
) -> tuple[Report, Differences]:
    """Score, write run files if requested, measure and compare."""
    from m3rag.cli.bars import stage_bars
    from m3rag.evaluation import measure, read_set, write_runs

    data = read_set(source)
    with stage_bars() as progress:
        scores = _scores(options, data, progress)
        if runs is not None:
            write_runs(scores, runs, weights=fusions)
        metrics = parse_list(options.metrics)
        report = measure(scores, weights=fusions, metrics=metrics, progress=progress)
        against = options.against
        differences = _compare(against, data, scores, report) if against else {}
    return report, differences


def _scores(options: _Options, data: RetrievalSet, progress: Progress) -> Scores:
    """Return the scores of the model or of a run file."""
    from m3rag.evaluation import read_run, score, score_run
    from m3rag.model import M3Model

    pairs = options.pairs if options.pairs in ("all", "pooled") else parse_list(options.pairs)
    if options.run is not None:
        tag, run = read_run(options.run)
        return score_run(run, data, name=tag, pairs=pairs, every=options.every)
    with M3Model.load(options.model) as model:
        return score(
            model,
            data,
            channels=parse_list(options.channels),
            pairs=pairs,
            level=options.level,
            every=options.every,
            context=options.context,
            mcls=options.mcls,
            aggregate=options.aggregate,
            max_tokens=options.max_tokens,
            progress=progress,
        )


def _compare(against: str, data: RetrievalSet, scores: Scores, report: Report) -> Differences:
    """Compare with a row of the table or with the rankings of a file."""
    from m3rag.evaluation import measure, read_run, score_run

    if against in report.values:
        return report.compare(report, to=against)
    path = Path(against)
    if not path.is_file():
        raise InputError(
            f"--against {against!r} is neither a TREC run file nor a row of the table "
            f"({', '.join(report.values)})."
        )
    tag, run = read_run(path)
    other = measure(score_run(run, data, name=tag, like=scores), metrics=report.metrics)
    return report.compare(other, to=tag)


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
            f"{report.left_out:,} times, a query had nothing relevant in a slice of the corpus "
            "and was left out there.",
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
        style = "" if found.p <= _SIGNIFICANT else "dim"
        interval = f"{found.low:+.3f} to {found.high:+.3f}"
        table.add_row(name, f"{found.mean:+.3f}", interval, f"{found.p:.3f}", style=style)
    console.print(table, highlight=False)


def _table(*columns: str, title: str) -> Table:
    """Return a table with right-aligned numbers, narrow enough for 80 columns."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, collapse_padding=True)
    for number, column in enumerate(columns):
        table.add_column(_header(column), justify="right" if number else "left", no_wrap=True)
    return table


def _header(metric: str) -> str:
    """Return a metric as it is usually written, and any other word unchanged."""
    name, at, k = metric.partition("@")
    return f"{_NAMES[name]}@{k}" if at else metric
