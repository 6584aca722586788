"""Renew the tables of docs/quality.md and quality-notes.md: the quality of the shipped models.

    python benchmarks/quality.py DATA [--model small] [--beside tiny] [--every 4] [--pages FILE …]

DATA is a folder with the sets `xquad`, `longdocs_react` and `tatoeba`, each in BEIR format. A
missing set is skipped and its tables are removed. All tables describe `--model`; the models of
`--beside` have rows in the comparison only. Each set is scored once, and all its tables except
those of long documents come from these scores. Only the text between the markers of a page is
replaced, such as `<!-- quality: means -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from comparison import DEFAULT, check_table, models_table, presets_table, views_table
from longdocs import HEAD, LONG_SET, long_rows, summary
from tuning import languages_table, markdown, tuning_table

from m3rag import M3Model, __version__
from m3rag.cli.bars import stage_bars
from m3rag.encoding import CHANNELS
from m3rag.evaluation import (
    Report,
    RetrievalSet,
    Scores,
    Slice,
    SliceScores,
    measure,
    read_set,
    score,
)
from m3rag.evaluation.matrices import RRF
from m3rag.evaluation.report import Table
from m3rag.evaluation.slices import POOLED
from m3rag.progress import Progress
from m3rag.scoring import Weights, named_weights

HERE = Path(__file__).resolve().parent
PAGES = (HERE.parent / "docs" / "quality.md", HERE / "quality-notes.md")
SETS = ("xquad", "longdocs_react", "tatoeba")
METRICS = {"recall@1": "R@1", "recall@10": "R@10", "ndcg@10": "nDCG@10"}
COMPARED = ("models", "check", "views", "presets")
TABLES = ("run", *COMPARED, "means", "pairs", "languages", "tuning", "long", "long-documents")
_BLOCK = re.compile(r"(<!-- quality: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Measure every set in the folder and rewrite the pages."""
    args = _arguments()
    pages = {page: page.read_text(encoding="utf-8") for page in args.pages}
    for page, text in pages.items():  # a wrong marker fails before the work
        filled(page, text, dict.fromkeys(TABLES, ""))
    sets = [name for name in SETS if (args.data / name).is_dir()]
    for absent in sorted(set(SETS) - set(sets)):
        print(f"{args.data} has no set {absent}: skipped.", file=sys.stderr)
    if not sets:
        sys.exit(f"{args.data} has none of {', '.join(SETS)}. There is nothing to measure.")
    models: dict[str, dict[str, Report]] = {}
    with stage_bars() as bars:
        with M3Model.load(args.model, dtype=args.dtype) as model:
            tables, models[model.name] = model_tables(model, sets, args, bars)
        for name in args.beside:
            with M3Model.load(name, dtype=args.dtype) as other:
                models[other.name] = {
                    found: _compared(other, args.data / found, args.every, bars) for found in sets
                }
    tables["models"] = models_table(models) + "\n\n"
    for page, text in pages.items():
        page.write_text(filled(page, text, tables), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of the sets")
    parser.add_argument("--model", default="small", help="the model of all tables")
    parser.add_argument(
        "--beside", nargs="*", default=["tiny"], help="models to compare it with; may be none"
    )
    parser.add_argument(
        "--dtype", default="float32", help="float32 gives the same figures on every machine"
    )
    parser.add_argument("--every", type=int, default=1, help="use only every N-th question")
    parser.add_argument(
        "--seeds", type=int, default=3, help="random draws for each number of questions"
    )
    parser.add_argument("--pages", nargs="+", type=Path, default=PAGES, help="files to rewrite")
    return parser.parse_args()


def model_tables(
    model: M3Model, sets: Sequence[str], args: argparse.Namespace, bars: Progress
) -> tuple[dict[str, str], dict[str, Report]]:
    """Return all tables of a model by the names of their markers, and its report of each set."""
    tables, runs, reports = dict.fromkeys(TABLES, ""), [], {}
    for name in sets:
        data = read_set(args.data / name)
        progress = partial(_report, bars, f"{model.name}, {name}")
        scores = score(model, data, every=args.every, progress=progress)
        runs.append(run_row(data, scores, args.every))
        reports[name] = measured(scores, progress)
        found = set_tables(scores, data, reports[name], args.seeds, progress)
        for kind, table in found.items():
            tables[kind] += f"**{name}**\n\n{table}\n\n"
        if name == LONG_SET:
            rows = long_rows(model, data, args.every, progress)
            tables["long"] = markdown(HEAD, rows) + "\n\n"
            tables["long-documents"] = summary(rows) + "\n\n"
    tables["run"] = run_table(model, runs)
    tables["check"] = check_table(reports) + "\n\n"
    tables["views"] = views_table(reports) + "\n\n"
    tables["presets"] = presets_table(reports, named_weights(model.presets)) + "\n\n"
    return tables, reports


def measured(scores: Scores, progress: Progress | None = None) -> Report:
    """Return the report of all channels, of all presets of the model and of rank fusion."""
    fusions: list[Weights] = [*scores.presets, RRF]
    return measure(scores, weights=fusions, metrics=list(METRICS), progress=progress)


def _compared(model: M3Model, folder: Path, every: int, bars: Progress) -> Report:
    """Return the report of the views and of the default fusion."""
    progress = partial(_report, bars, f"{model.name}, {folder.name}")
    scores = score(model, read_set(folder), channels=CHANNELS, every=every, progress=progress)
    return measure(scores, weights=[DEFAULT], metrics=list(METRICS))


def _report(progress: Progress, name: str, stage: str, done: int, total: int | None) -> None:
    progress(f"{name}: {stage}", done, total)


def run_row(data: RetrievalSet, scores: Scores, every: int) -> list[str]:
    """Return the sizes of a set as a row of `run_table`."""
    queries = [query for part in scores.slices for query in part.slice.queries]
    questions = {(query.subset, query.question) for query in queries}
    passages = sum(len(part.slice.passages) for part in scores.slices)
    numbers = (len(data.corpus), passages, every, len(questions), len(queries))
    return [data.name, *(f"{number:,}" for number in numbers)]


def run_table(model: M3Model, rows: Sequence[Sequence[str]]) -> str:
    """Return the model, its fingerprint, the version and the table of the sets."""
    head = ("set", "documents", "passages", "every", "questions", "rankings")
    used = f"Model {model.name}, {model.dtype}, fingerprint `{model.fingerprint}`"
    return f"{used}; m3rag {__version__}.\n\n{markdown(head, rows)}\n\n"


def set_tables(
    scores: Scores,
    data: RetrievalSet,
    report: Report,
    seeds: int,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Return the tables of a set by the names of their markers."""
    names = [name for name in report.channels if name not in scores.channels]
    best = max(names, key=lambda name: report.channels[name]["ndcg@10"])
    tables = {
        "means": means_table(report),
        "pairs": f"{best}, nDCG@10:\n\n{pairs_table(report, best)}",
        "tuning": tuning_table(scores, seeds, progress),
    }
    together = pooled(scores)
    if together is not None:
        sums = {name: own for name, own in scores.presets.items() if not own.get("bm25")}
        tables["languages"] = languages_table(together, data, sums)
    return tables


def means_table(report: Report) -> str:
    """Return a row for each channel and fusion: one language (same) and two languages (cross)."""
    parts: dict[str, Table] = {"same": report.same, "cross": report.cross}
    parts = {name: part for name, part in parts.items() if part}
    head = [f"{name} {shown}" for name in parts for shown in METRICS.values()]
    rows = [
        [name, *(f"{part[name][metric]:.3f}" for part in parts.values() for metric in METRICS)]
        for name in report.channels
    ]
    return markdown(["", *head], rows)


def pairs_table(report: Report, name: str) -> str:
    """Return nDCG@10 of a fusion for each pair of languages, as a shaded HTML table."""
    queries = sorted({cell.asked for cell in report.cells})
    documents = sorted({cell.answered for cell in report.cells})
    lines = ["<table>", _row("th", ["query ↓ document →", *documents])]
    for query in queries:
        pairs = [report.pairs.get(f"{query}-{document}") for document in documents]
        cells = "".join(_shaded(pair[name]["ndcg@10"]) if pair else "<td></td>" for pair in pairs)
        lines.append(f"<tr><th>{query}</th>{cells}</tr>")
    return "\n".join([*lines, "</table>"])


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def _shaded(value: float) -> str:
    """Return a cell with more colour for a better value, legible on light and dark pages."""
    return f'<td style="background: rgba(0, 150, 136, {0.6 * value:.2f})">{value:.2f}</td>'


def pooled(scores: Scores) -> Scores | None:
    """Join the scores of all languages as if their documents had been ranked together.

    The channel bm25 is left out, because its statistics are those of one language's documents.

    Returns:
        The joined scores; None if there is only one language, or if some query has no relevant
        document in one of them.
    """
    slices = [part.slice for part in scores.slices]
    ids = [query.id for query in slices[0].queries]
    if len(slices) < 2 or any([query.id for query in s.queries] != ids for s in slices):
        return None
    units = np.array([unit for part in slices for unit in part.units])
    sizes = np.concatenate([np.diff(part.starts, append=len(part.passages)) for part in slices])
    starts, order = np.cumsum(sizes) - sizes, np.argsort(units, kind="stable")
    columns = np.concatenate([np.arange(starts[i], starts[i] + sizes[i]) for i in order])
    passages = [passage for part in slices for passage in part.passages]
    whole = Slice(
        subset="",
        language=POOLED,
        units=units[order].tolist(),
        passages=[passages[column] for column in columns],
        starts=np.cumsum(sizes[order]) - sizes[order],
        queries=slices[0].queries,
        relevant=[
            {unit: grade for grades in row for unit, grade in grades.items()}
            for row in zip(*(part.relevant for part in slices), strict=True)
        ],
        left_out=slices[0].left_out,
    )
    channels = {
        channel: np.concatenate([part.channels[channel] for part in scores.slices], axis=1)
        for channel in CHANNELS
    }
    matrices = {channel: matrix[:, columns] for channel, matrix in channels.items()}
    return replace(scores, pooled=True, slices=[SliceScores(whole, matrices)])


def filled(page: Path, text: str, tables: Mapping[str, str]) -> str:
    """Return the text of a page with these tables between its markers.

    It ends the process if the page has no marker, an unknown one, or one twice.
    """
    names = [name for _, name, _ in _BLOCK.findall(text)]
    wrong = [name for name in names if name not in tables or names.count(name) > 1]
    if wrong or not names:
        found = f"<!-- quality: {wrong[0]} -->" if wrong else "no <!-- quality: … -->"
        sys.exit(f"{page} has {found}; it needs one or more of {', '.join(tables)}, each once.")
    return _BLOCK.sub(lambda found: f"{found[1]}\n{tables[found[2]]}{found[3]}", text)


if __name__ == "__main__":
    main()
