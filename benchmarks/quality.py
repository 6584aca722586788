"""Renew the tables of quality-notes.md: the quality of a model's channels and fusions.

    python benchmarks/quality.py DATA [--every 4] [--output benchmarks/quality-notes.md]

DATA is a folder with the sets `xquad`, `longdocs_react` and `tatoeba`, each in BEIR form. A set
that is missing is skipped, and its tables are removed. Each set is scored once, and all tables are
made from these scores. Only the text between the page's markers is replaced. docs/quality.md quotes
some of the figures; update it by hand.
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
from m3rag.cli.common import progress_bars
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
    f"{asked}-{told}" for told in ("en", "es") for asked in ("en", "es", "zh", "ru", "tr")
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
    """Measure every set that is there, and rewrite the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--dtype", default="float32", help="the same figures on every machine")
    parser.add_argument("--every", type=int, default=1, help="use only every N-th question")
    parser.add_argument("--seeds", type=int, default=3, help="draws for each number of questions")
    parser.add_argument("--output", type=Path, default=PAGE)
    given = parser.parse_args()
    text = given.output.read_text(encoding="utf-8")
    filled(text, dict.fromkeys(("run", *TABLES), ""))  # fail before the work if a marker is missing
    sets = [name for name in SETS if (given.data / name).is_dir()]
    for absent in sorted(set(SETS) - set(sets)):
        print(f"{given.data} has no set {absent}: skipped.", file=sys.stderr)
    if not sets:
        sys.exit(f"{given.data} has none of {', '.join(SETS)}: nothing to measure.")
    runs, tables = [], dict.fromkeys(TABLES, "")
    with M3Model.load(given.model, dtype=given.dtype) as model, progress_bars() as tell:
        for name in sets:
            data = read_set(given.data / name)
            told = partial(_tell, tell, name)
            scores = score(model, data, every=given.every, progress=told)
            runs.append(run_row(data, scores, given.every))
            for kind, table in set_tables(scores, data, given.seeds, told).items():
                tables[kind] += f"**{name}**\n\n{table}\n\n"
            if name == LONG_SET:
                tables["long"] = f"{long_table(model, data, given.every, told)}\n\n"
        tables["run"] = run_table(model, runs)
    given.output.write_text(filled(text, tables), encoding="utf-8")


def _tell(progress: Progress, name: str, stage: str, done: int, total: int | None) -> None:
    progress(f"{name}: {stage}", done, total)


def run_row(data: RetrievalSet, scores: Scores, every: int) -> list[str]:
    """What was asked of a set."""
    queries = [query for one in scores.slices for query in one.slice.queries]
    questions = {(query.subset, query.question) for query in queries}
    passages = sum(len(one.slice.passages) for one in scores.slices)
    numbers = (len(data.corpus), passages, every, len(questions), len(queries))
    return [data.name, *(f"{number:,}" for number in numbers)]


def run_table(model: M3Model, rows: Sequence[Sequence[str]]) -> str:
    """The model, its fingerprint, the version and the sets."""
    head = ("set", "documents", "passages", "every", "questions", "rankings")
    used = f"Model {model.name}, {model.dtype}, fingerprint `{model.fingerprint}`"
    return f"{used}; m3rag {__version__}.\n\n{markdown(head, rows)}\n\n"


def set_tables(
    scores: Scores, data: RetrievalSet, seeds: int, progress: Progress | None = None
) -> dict[str, str]:
    """All tables of a set, by their markers' names."""
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
    """nDCG@10 of each way to encode long documents, by document and, where fair, by passage."""
    rows = []
    for level in LEVELS:
        for mode, options in LONG_MODES.items():
            if level == "passage" and "max_tokens" in options:
                continue  # longer passages are easier to hit
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
    """Each channel and fusion where query and documents share a language, and where not."""
    parts: dict[str, Table] = {"same": report.same, "cross": report.cross}
    parts = {name: part for name, part in parts.items() if part}
    head = [f"{name} {shown}" for name in parts for shown in METRICS.values()]
    rows = [
        [name, *(f"{part[name][metric]:.3f}" for part in parts.values() for metric in METRICS)]
        for name in report.channels
    ]
    return markdown(["", *head], rows)


def pairs_table(report: Report, name: str) -> str:
    """A fusion's nDCG@10 for each pair of languages, in HTML: the more colour, the better."""
    asked = sorted({cell.asked for cell in report.cells})
    answered = sorted({cell.answered for cell in report.cells})
    lines = ["<table>", _row("th", ["query ↓ document →", *answered])]
    for query in asked:
        found = [report.pairs.get(f"{query}-{document}") for document in answered]
        cells = "".join(_shaded(pair[name]["ndcg@10"]) if pair else "<td></td>" for pair in found)
        lines.append(f"<tr><th>{query}</th>{cells}</tr>")
    return "\n".join([*lines, "</table>"])


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def _shaded(value: float) -> str:
    """A cell whose text is legible on a light and on a dark page, however much colour it has."""
    return f'<td style="background: rgba(0, 150, 136, {0.6 * value:.2f})">{value:.2f}</td>'


def pooled(scores: Scores) -> Scores | None:
    """All languages' documents ranked together, out of scores of each language on its own.

    Without bm25, whose statistics are those of one language's documents. None if there is one
    language, or if some question is not answered in all.
    """
    slices = [one.slice for one in scores.slices]
    asked = [query.id for query in slices[0].queries]
    if len(slices) < 2 or any([query.id for query in s.queries] != asked for s in slices):
        return None
    units = np.array([unit for one in slices for unit in one.units])
    sizes = np.concatenate([np.diff(one.starts, append=len(one.passages)) for one in slices])
    starts, order = np.cumsum(sizes) - sizes, np.argsort(units, kind="stable")
    columns = np.concatenate([np.arange(starts[i], starts[i] + sizes[i]) for i in order])
    passages = [passage for one in slices for passage in one.passages]
    whole = Slice(
        subset="",
        language=POOLED,
        units=units[order].tolist(),
        passages=[passages[column] for column in columns],
        starts=np.cumsum(sizes[order]) - sizes[order],
        queries=slices[0].queries,
        relevant=[
            {unit: grade for grades in row for unit, grade in grades.items()}
            for row in zip(*(one.relevant for one in slices), strict=True)
        ],
        left_out=slices[0].left_out,
    )
    channels = {
        channel: np.concatenate([one.channels[channel] for one in scores.slices], axis=1)
        for channel in CHANNELS
    }
    matrices = {channel: matrix[:, columns] for channel, matrix in channels.items()}
    return replace(scores, pooled=True, slices=[SliceScores(whole, matrices)])


def filled(text: str, tables: Mapping[str, str]) -> str:
    """The page with these tables between its markers."""
    for name, table in tables.items():
        block = re.compile(_BLOCK.format(name=name), re.DOTALL)
        text, found = block.subn(lambda match, table=table: f"{match[1]}\n{table}{match[2]}", text)
        if found != 1:
            sys.exit(f"The page has {found} places marked <!-- quality: {name} -->, not 1.")
    return text


if __name__ == "__main__":
    main()
