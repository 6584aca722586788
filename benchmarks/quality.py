"""Renew the tables of quality-notes.md: the quality of a model's channels and fusions.

    python benchmarks/quality.py DATA [--every 4] [--output benchmarks/quality-notes.md]

DATA is a folder with the sets `xquad`, `longdocs_react` and `tatoeba`, each in BEIR format. A
missing set is skipped and its tables are removed. Each set is scored once, and all its tables
except those of long documents come from these scores. Only the text between the page's markers is
replaced. docs/quality.md quotes some of the figures; update it by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypedDict

import numpy as np
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
from m3rag.evaluation.slices import LEVELS, POOLED, Context
from m3rag.progress import Progress
from m3rag.scoring import PRESETS, Weights

PAGE = Path(__file__).parent / "quality-notes.md"
SETS = ("xquad", "longdocs_react", "tatoeba")
SUMS: Mapping[str, Weights] = {
    **dict(zip(PRESETS, PRESETS, strict=True)),
    "0.1/0.3/1": (0.1, 0.3, 1),
}
WITH_BM25: Sequence[Weights] = ((0.05, 0.5, 1, 0.013),)
METRICS = {"recall@1": "R@1", "recall@10": "R@10", "ndcg@10": "nDCG@10"}
TABLES = ("means", "pairs", "languages", "tuning", "long")
LONG_SET = "longdocs_react"
LONG_PAIRS = [
    f"{query}-{document}" for document in ("en", "es") for query in ("en", "es", "zh", "ru", "tr")
]


class LongOptions(TypedDict, total=False):
    """The arguments of `score` that differ between the ways to encode long documents."""

    context: Context
    mcls: int
    max_tokens: int
    overlap: int


LONG_MODES: dict[str, LongOptions] = {
    "passages": {},
    "passages in context": {"context": "document"},
    "2,048 tokens": {"max_tokens": 2048, "overlap": 0},
    "2,048 tokens, MCLS": {"mcls": 256, "max_tokens": 2048, "overlap": 0},
}

_BLOCK = "(<!-- quality: {name} -->\n).*?(<!-- end -->)"


def main() -> None:
    """Measure every set in the folder and rewrite the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of the sets")
    parser.add_argument("--model", default="tiny")
    parser.add_argument(
        "--dtype", default="float32", help="float32 gives the same figures on every machine"
    )
    parser.add_argument("--every", type=int, default=1, help="use only every N-th question")
    parser.add_argument(
        "--seeds", type=int, default=3, help="random draws for each number of questions"
    )
    parser.add_argument("--output", type=Path, default=PAGE)
    args = parser.parse_args()
    text = args.output.read_text(encoding="utf-8")
    filled(text, dict.fromkeys(("run", *TABLES), ""))  # fail before the work if a marker is missing
    sets = [name for name in SETS if (args.data / name).is_dir()]
    for absent in sorted(set(SETS) - set(sets)):
        print(f"{args.data} has no set {absent}: skipped.", file=sys.stderr)
    if not sets:
        sys.exit(f"{args.data} has none of {', '.join(SETS)}. There is nothing to measure.")
    runs, tables = [], dict.fromkeys(TABLES, "")
    with M3Model.load(args.model, dtype=args.dtype) as model, stage_bars() as bars:
        for name in sets:
            data = read_set(args.data / name)
            progress = partial(_report, bars, name)
            scores = score(model, data, every=args.every, progress=progress)
            runs.append(run_row(data, scores, args.every))
            for kind, table in set_tables(scores, data, args.seeds, progress).items():
                tables[kind] += f"**{name}**\n\n{table}\n\n"
            if name == LONG_SET:
                tables["long"] = f"{long_table(model, data, args.every, progress)}\n\n"
        tables["run"] = run_table(model, runs)
    args.output.write_text(filled(text, tables), encoding="utf-8")


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
    scores: Scores, data: RetrievalSet, seeds: int, progress: Progress | None = None
) -> dict[str, str]:
    """Return all tables of a set by the names of their markers."""
    fusions = [*SUMS.values(), RRF, *WITH_BM25]
    report = measure(scores, weights=fusions, metrics=list(METRICS), progress=progress)
    names = [name for name in report.channels if name not in scores.channels]
    best = max(names, key=lambda name: report.channels[name]["ndcg@10"])
    tables = {
        "means": means_table(report),
        "pairs": f"{best}, nDCG@10:\n\n{pairs_table(report, best)}",
        "tuning": tuning_table(scores, seeds, progress),
    }
    together = pooled(scores)
    if together is not None:
        tables["languages"] = languages_table(together, data, SUMS)
    return tables


def long_table(
    model: M3Model, data: RetrievalSet, every: int, progress: Progress | None = None
) -> str:
    """Return nDCG@10 of each way to encode long documents, by document and by passage.

    Passages are ranked only where they have the usual length: longer ones are easier to hit.
    """
    rows = []
    for level in LEVELS:
        for mode, options in LONG_MODES.items():
            if level == "passage" and "max_tokens" in options:
                continue
            scores = score(
                model,
                data,
                channels=CHANNELS,
                pairs=LONG_PAIRS,
                level=level,
                every=every,
                progress=progress,
                **options,
            )
            report = measure(
                scores, weights=["cross-lingual", "long-document"], metrics=["ndcg@10"]
            )
            rows += [
                [
                    level,
                    mode,
                    name,
                    *(f"{p[name]['ndcg@10']:.3f}" for p in (report.same, report.cross)),
                ]
                for name in report.channels
            ]
    return markdown(("level", "encoded as", "", "same", "cross"), rows)


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


def filled(text: str, tables: Mapping[str, str]) -> str:
    """Return the page with these tables between its markers; exit if a marker is not unique."""
    for name, table in tables.items():
        parts = re.split(_BLOCK.format(name=name), text, flags=re.DOTALL)
        if len(parts) != 4:  # the text before, two markers, the text after
            found = len(parts) // 3
            sys.exit(f"The page has {found} places marked <!-- quality: {name} -->, not 1.")
        before, start, end, after = parts
        text = f"{before}{start}\n{table}{end}{after}"
    return text


if __name__ == "__main__":
    main()
