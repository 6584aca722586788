"""Rankings in TREC's run format, one line per document: `query Q0 document rank score tag`.

A file contains a query's rankings of all slices, one after the other. Each document belongs to one
slice only, so reading the file with the same set and pairs gives the same rankings.
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
    """Write a file `<channel or fusion>.trec` for each channel and fusion.

    Scores are written with enough digits to read back the same float32. "/" in a name becomes "_".

    Args:
        scores: The scores to rank by.
        folder: The folder for the files; created if it is missing.
        weights: Fusions, as in `evaluate`.
        depth: The number of units to write for each query and slice.

    Returns:
        The paths of the files.

    Raises:
        InputError: A fusion needs a channel that was not scored.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, system in named_systems(scores.channels, weights, scores.presets).items():
        path = folder / f"{name.replace('/', '_')}.trec"
        with path.open("w", encoding="utf-8") as file:
            for scored in scores.slices:
                ranked = scored.ranked(system)
                for query, row, columns in zip(
                    scored.slice.queries, ranked, top(ranked, depth), strict=True
                ):
                    for rank, column in enumerate(columns[columns >= 0], 1):
                        unit, value = scored.slice.units[column], row[column]
                        file.write(f"{query.id} Q0 {unit} {rank} {value:.9g} {name}\n")
        written.append(path)
    return written


def read_run(path: Path) -> tuple[str, Run]:
    """Return the tag and the rankings of a run file; .gz and .zst are decompressed.

    Raises:
        InputError: There is no such file, it is empty, or a line has another form.
        MissingExtraError: The file ends in .zst, and the library that reads it is not installed.
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
                    f"{path}, line {number} must have the form `query Q0 document rank score tag`, "
                    f"got {line.strip()[:80]!r}."
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
    """Turn a run into scores with the single channel `name`, for `measure`.

    Args:
        run: The rankings.
        data: The set that they belong to.
        name: The name of the run in tables.
        pairs: As in `score`.
        every: As in `score`.
        like: Scores of the same set whose slices and level are used instead of `pairs` and `every`.
            Without them, documents are ranked.

    Raises:
        InputError: The run names queries, documents or passages that the set does not have.
    """
    if like is None:
        level: Level = "document"
        slices = cut(data.sample(every), pairs=pairs, level=level, splitter=None)
        pooled = pairs == "pooled"
    else:
        slices, level, pooled = [scored.slice for scored in like.slices], like.level, like.pooled
    units = {document.id for document in data.corpus}
    if level == "passage":
        units = {unit for part in slices for unit in part.units}
    _check(name, "queries", run.keys() - {query.id for query in data.queries})
    _check(name, f"{level}s", {unit for ranking in run.values() for unit in ranking} - units)
    slice_scores = [SliceScores(part, {name: _matrix(run, part)}) for part in slices]
    return Scores(data.name, name, level, pooled, slice_scores)


def _check(name: str, what: str, unknown: AbstractSet[str]) -> None:
    if unknown:
        raise InputError(
            f"The run {name!r} names {len(unknown):,} {what} that the set does not have, such as "
            f"{min(unknown)!r}. Check that the run belongs to this set and that its documents were "
            "split in the same way."
        )


def _matrix(run: Run, slice: Slice) -> Floats:
    """Return the scores of a slice's units `(n queries, n units)`, -inf where the run has none."""
    column = {unit: i for i, unit in enumerate(slice.units)}
    scores = np.full((len(slice.queries), len(slice.units)), -np.inf, np.float32)
    for row, query in enumerate(slice.queries):
        for unit, value in run.get(query.id, {}).items():
            if unit in column:
                scores[row, column[unit]] = value
    return scores
