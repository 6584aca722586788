"""Rankings in TREC's run format, one line per document: `query Q0 document rank score tag`.

A file contains a query's rankings of all slices, one after the other. Each document belongs to one
slice only, so reading the file with the same set and pairs gives the same rankings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

import numpy as np

from m3rag.errors import InputError
from m3rag.evaluation.beir import text_lines
from m3rag.evaluation.dataset import RetrievalSet
from m3rag.evaluation.evaluator import named_systems
from m3rag.evaluation.matrices import Scores, SliceScores
from m3rag.evaluation.metrics import top
from m3rag.evaluation.slices import Level, Pairs, Slice, cut
from m3rag.files import written
from m3rag.limits import shown
from m3rag.scoring import Weights
from m3rag.scoring.fusion import Floats

Run = dict[str, dict[str, float]]
"""Query id -> document or passage id -> score."""

DEPTH = 100
_LARGEST_SCORE = float(np.finfo(np.float32).max)


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
        InputError: A fusion needs a channel that was not scored, or an id has white space.
        StorageError: A file cannot be written.
    """
    paths = []
    for name, system in named_systems(scores.channels, weights, scores.presets).items():
        path = folder / f"{name.replace('/', '_')}.trec"
        with written(path, extra="evaluate") as file:
            for line in _lines(scores, system, name, depth):
                file.write(line.encode())
        paths.append(path)
    return paths


def _lines(scores: Scores, system: Weights, name: str, depth: int) -> Iterator[str]:
    for scored in scores.slices:
        ranked = scored.ranked(system)
        for query, row, columns in zip(
            scored.slice.queries, ranked, top(ranked, depth), strict=True
        ):
            for rank, column in enumerate(columns[columns >= 0], 1):
                unit, value = scored.slice.units[column], row[column]
                if len(f"{query.id} {unit} .".split()) != 3:
                    raise InputError(
                        f"The ids {shown(query.id)} and {shown(unit)} cannot be written to a run "
                        "file, which separates them by spaces. Rename them."
                    )
                yield f"{query.id} Q0 {unit} {rank} {value:.9g} {name}\n"


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
    for number, line in text_lines(path):
        try:
            query, _, unit, _, value, tag = line.split()
            score = float(value)
            if not abs(score) <= _LARGEST_SCORE:  # NaN is not
                raise ValueError
        except ValueError:
            raise InputError(
                f"{path}, line {number} must have the form `query Q0 document rank score tag`, "
                f"with a finite score, got {shown(line.strip(), 80)}."
            ) from None
        run.setdefault(query, {})[unit] = score
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
            f"The run {shown(name)} names {len(unknown):,} {what} that the set does not have, such "
            f"as {shown(min(unknown))}. Check that the run belongs to this set and that its "
            "documents were split in the same way."
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
