"""`m3rag evaluate`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m3rag.cli.common import installed
from m3rag.cli.options import (
    DEFAULT_MODEL,
    Json,
    parse_list,
    parse_weights_option,
    settings_options,
)
from m3rag.cli.output import print_json
from m3rag.cli.pages import check_page, write_page
from m3rag.cli.report_tables import print_report
from m3rag.cli.reporting import reading, writing
from m3rag.errors import InputError

if TYPE_CHECKING:
    from m3rag.evaluation import Difference, Report, RetrievalSet, Scores
    from m3rag.evaluation.matrices import Aggregate
    from m3rag.evaluation.slices import Context, Level
    from m3rag.progress import Progress
    from m3rag.scoring import Weights

    Differences = dict[str, dict[str, Difference]]


_METRIC = 30  # characters of the longest name of a metric


@dataclass(frozen=True)
class _Options:
    """The options of `m3rag evaluate` that say what to measure, unparsed."""

    model: str = field(
        default=DEFAULT_MODEL,
        metadata={"help": 'Model: hub id, folder, "small" or "tiny" (both offline).'},
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
    max_tokens: int | None = field(
        default=None,
        metadata={
            "help": "Maximum passage length in model tokens. Defaults to the length that suits the "
            "model: 512 for BGE-M3."
        },
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
    if html is not None:
        check_page(html)
    report, differences = _evaluate(source, settings, fusions, runs)
    if as_json:
        found = report.to_dict()
        if differences:
            found["against"] = {
                name: {metric: asdict(d) for metric, d in row.items()}
                for name, row in differences.items()
            }
        print_json(found)
    else:
        print_report(report, differences, settings.against)
    if html is not None:  # last: the results are not lost if the page cannot be written
        from m3rag.evaluation.report_page import page

        write_page(html, page(report, differences))


def _check(options: _Options) -> list[Weights] | None:
    """Check the options without data and model; returns the fusions, None for the defaults."""
    from m3rag.evaluation import named_systems
    from m3rag.evaluation.metrics import check_metrics
    from m3rag.model.grouping import check_mcls

    check_mcls(options.mcls)
    metrics = parse_list(options.metrics)
    longest = max(metrics, key=len, default="")
    if len(longest) > _METRIC:
        raise InputError(
            f"--metrics has a name of {len(longest):,} characters, {longest[:_METRIC]!r}…. Use "
            "ndcg@k, recall@k or mrr@k, such as ndcg@10."
        )
    check_metrics(metrics)
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

    with reading(source):
        data = read_set(source)
    with stage_bars() as progress:
        scores = _scores(options, data, progress)
        if runs is not None:
            with writing(runs):
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
        with reading(options.run):
            tag, run = read_run(options.run)
        return score_run(run, data, name=tag, pairs=pairs, every=options.every)
    with M3Model.load(installed(options.model)) as model:
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
    with reading(path):
        tag, run = read_run(path)
    other = measure(score_run(run, data, name=tag, like=scores), metrics=report.metrics)
    return report.compare(other, to=tag)
