"""Rankings in TREC's run format, one line a document: `query Q0 document rank score tag`.

A file holds a query's ranking of every slice, one after the other. As a document is in one slice
only, reading the file with the same set and pairs finds the same rankings.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

import numpy as np

from m3rag.errors import InputError
from m3rag.evaluation.beir import opened
from m3rag.evaluation.dataset import RetrievalSet
from m3rag.evaluation.evaluator import named_systems
from m3rag.evaluation.matrices import Scores, SliceScores
from m3rag.evaluation.metrics import top
from m3rag.evaluation.slices import Level, Pairs, Slice, cut
from m3rag.scoring import Weights
from m3rag.scoring.fusion import Floats

Run = dict[str, dict[str, float]]
"""Query id -> document or passage id -> score."""

DEPTH = 100


def write_runs(
    scores: Scores,
    folder: Path,
    *,
    weights: Sequence[Weights] | None = None,
    depth: int = DEPTH,
) -> list[Path]:
    """Write `<channel or fusion>.trec` files, each slice's best `depth` units of every query.

    Scores are written so that reading gives the very same float32. "/" in a name becomes "_".
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, system in named_systems(scores.channels, weights, scores.presets).items():
        path = folder / f"{name.replace('/', '_')}.trec"
        with path.open("w", encoding="utf-8") as file:
            for one in scores.slices:
                ranked = one.ranked(system)
                for query, row, columns in zip(
                    one.slice.queries, ranked, top(ranked, depth), strict=True
                ):
                    for rank, column in enumerate(columns[columns >= 0], 1):
                        unit, value = one.slice.units[column], row[column]
                        file.write(f"{query.id} Q0 {unit} {rank} {value:.9g} {name}\n")
        written.append(path)
    return written


def read_run(path: Path) -> tuple[str, Run]:
    """A run file's tag and rankings; .gz and .zst are decompressed.

    Raises:
        InputError: no file, an empty one, or a line of another form.
    """
    if not path.is_file():
        raise InputError(f"There is no run file {path}.")
    run: Run = {}
    tag = ""
    with opened(path) as file:
        for number, line in enumerate(file, 1):
            try:
                query, _, unit, _, value, tag = line.split()
                run.setdefault(query, {})[unit] = float(value)
            except ValueError:
                raise InputError(
                    f"{path}, line {number} is not `query Q0 document rank score tag`: "
                    f"{line.strip()[:80]!r}."
                ) from None
    if not run:
        raise InputError(f"The run file {path} is empty.")
    return tag, run


def score_run(
    run: Run,
    data: RetrievalSet,
    *,
    name: str = "run",
    pairs: Pairs = "all",
    every: int = 1,
    like: Scores | None = None,
) -> Scores:
    """A run as scores with the one channel `name`, for `measure`.

    Args:
        run: the rankings.
        data: the set they are of.
        name: what the tables call it.
        pairs: as in `score`.
        every: as in `score`.
        like: scores of the same set whose slices and level are taken instead; without them
            documents are ranked.

    Raises:
        InputError: the run names queries, documents or passages that are not there.
    """
    if like is None:
        level: Level = "document"
        slices = cut(data.sample(every), pairs=pairs, level=level, splitter=None)
        pooled = pairs == "pooled"
    else:
        slices, level, pooled = [one.slice for one in like.slices], like.level, like.pooled
    units = {document.id for document in data.corpus}
    if level == "passage":
        units = {unit for one in slices for unit in one.units}
    _check(name, "queries", run.keys() - {query.id for query in data.queries})
    _check(name, f"{level}s", {unit for ranking in run.values() for unit in ranking} - units)
    scored = [SliceScores(one, {name: _matrix(run, one)}) for one in slices]
    return Scores(data.name, name, level, pooled, scored)


def _check(name: str, what: str, unknown: AbstractSet[str]) -> None:
    if unknown:
        raise InputError(
            f"The run {name!r} names {len(unknown):,} {what} that the set does not have, such as "
            f"{min(unknown)!r}. Is it of another set, or were its documents split otherwise?"
        )


def _matrix(run: Run, one: Slice) -> Floats:
    """The scores of a slice's units `(n queries, n units)`, -inf where the run has none."""
    column = {unit: i for i, unit in enumerate(one.units)}
    scores = np.full((len(one.queries), len(one.units)), -np.inf, np.float32)
    for row, query in enumerate(one.queries):
        for unit, value in run.get(query.id, {}).items():
            if unit in column:
                scores[row, column[unit]] = value
    return scores
