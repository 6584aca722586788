"""Evaluating a model on a set: score, rank, measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from m3rag.errors import InputError
from m3rag.evaluation.dataset import RetrievalSet
from m3rag.evaluation.matrices import RRF, Aggregate, Scores, SliceScores, channel_weights
from m3rag.evaluation.metrics import METRICS, check_metrics, measure_rankings, top
from m3rag.evaluation.report import CURVE, Cell, Report
from m3rag.evaluation.scorer import score
from m3rag.evaluation.slices import Context, Level, Pairs
from m3rag.evaluation.statistics import Layout, Values
from m3rag.model import M3Model
from m3rag.progress import Progress, counting
from m3rag.scoring import PRESETS, SCORED, Weights, named_weights

OVERLAP = 10  # the number of top units whose overlap is reported


def evaluate(
    model: M3Model,
    data: RetrievalSet,
    *,
    weights: Sequence[Weights] | None = None,
    channels: Sequence[str] = SCORED,
    pairs: Pairs = "all",
    level: Level = "document",
    metrics: Sequence[str] = METRICS,
    every: int = 1,
    max_tokens: int | None = None,
    overlap: int | None = None,
    context: Context = "passage",
    mcls: int | None = None,
    aggregate: Aggregate = "max",
    progress: Progress | None = None,
) -> Report:
    """Measure every channel and fusion of a model on a set: `measure(score(...))`.

    Args:
        model: The model that encodes.
        data: The set.
        weights: Fusions, each a preset's name, "rrf", or numbers such as `(1, 0.3, 1)`. Defaults to
            "rrf" and all presets whose channels are in `channels`.
        channels: Any of "dense", "sparse", "colbert" and "bm25".
        pairs: "all", "pooled", or pairs such as `["es-en"]`; see `score`.
        level: "document" or "passage"; see `score`.
        metrics: Names such as "ndcg@10".
        every: Use only every N-th question.
        max_tokens: The longest passage, as in `m3rag.split`; `model.passage_tokens` by default.
        overlap: As in `m3rag.split`.
        context: "passage" or "document"; see `score`.
        mcls: Tokens between two `<s>`; see `score`.
        aggregate: "max" or "sum"; see `score`.
        progress: Called with the stages of `score` and "measuring rankings".

    Raises:
        InputError: A channel, metric, level or language is unknown, or there is nothing to
            evaluate.
        MissingExtraError: The libraries of the extra "evaluate" are not installed.
    """
    check_metrics(metrics)
    named_systems(channels, weights, named_weights(model.presets))
    scores = score(
        model,
        data,
        channels=channels,
        pairs=pairs,
        level=level,
        every=every,
        max_tokens=max_tokens,
        overlap=overlap,
        context=context,
        mcls=mcls,
        aggregate=aggregate,
        progress=progress,
    )
    return measure(scores, weights=weights, metrics=metrics, progress=progress)


def measure(
    scores: Scores,
    *,
    weights: Sequence[Weights] | None = None,
    metrics: Sequence[str] = METRICS,
    progress: Progress | None = None,
) -> Report:
    """Rank by the scores and compute the metrics of every channel and fusion.

    Args:
        scores: The scores, from `score` or `score_run`.
        weights: Fusions, as in `evaluate`.
        metrics: Names such as "ndcg@10".
        progress: Called with the stage "measuring rankings".

    Raises:
        InputError: A metric is unknown, or a fusion needs a channel that was not scored.
        MissingExtraError: The libraries of the extra "evaluate" are not installed.
    """
    shown = tuple(metrics)
    wanted = tuple(dict.fromkeys([*shown, *(f"recall@{k}" for k in CURVE)]))
    depth = check_metrics(wanted)
    systems = named_systems(scores.channels, weights, scores.presets)
    found: dict[str, dict[str, list[Values]]] = {n: {m: [] for m in wanted} for n in systems}
    shared: dict[tuple[str, str], list[Values]] = {p: [] for p in combinations(systems, 2)}
    keys: list[tuple[str, str, str]] = []
    rankings = len(systems) * sum(len(scored.slice.queries) for scored in scores.slices)
    report = counting(progress, "measuring rankings", rankings)
    for scored in scores.slices:
        best: dict[str, NDArray[np.int64]] = {}
        for name, system in systems.items():
            ranked = scored.ranked(system)
            ordered = top(ranked, depth)
            best[name] = ordered[:, :OVERLAP]
            for metric, values in measure_rankings(scored.slice, ranked, ordered, wanted).items():
                found[name][metric].append(values)
            report(len(ranked))
        for first, second in shared:
            shared[first, second].append(_overlap(best[first], best[second]))
        part = scored.slice
        keys += [(query.id, part.subset, part.language) for query in part.queries]
    cells, layout = layout_of(scores.slices)
    return Report(
        set=scores.set,
        model=scores.model,
        level=scores.level,
        metrics=shown,
        keys=keys,
        cells=cells,
        layout=layout,
        values={
            name: {metric: np.concatenate(parts) for metric, parts in by_metric.items()}
            for name, by_metric in found.items()
        },
        overlap={pair: float(np.concatenate(parts).mean()) for pair, parts in shared.items()},
        left_out=scores.left_out,
    )


def named_systems(
    channels: Sequence[str],
    weights: Sequence[Weights] | None = None,
    presets: Mapping[str, Mapping[str, float]] = PRESETS,
) -> dict[str, Weights]:
    """Return the channels and the fusions of them by name, such as "default", "rrf", "1/0.3/1".

    Args:
        channels: The channels that are scored.
        weights: Fusions, as in `evaluate`.
        presets: The weights of each preset, by name.

    Raises:
        InputError: A fusion needs a channel that is not scored.
    """
    if weights is None:
        names = (*presets, RRF)
        weights = [n for n in names if channel_weights(n, presets).keys() <= set(channels)]
    systems: dict[str, Weights] = {channel: channel for channel in channels}
    for fusion in weights:
        parts = channel_weights(fusion, presets)
        if missing := parts.keys() - set(channels):
            raise InputError(
                f"The weights {fusion!r} need the channel {min(missing)}, which is not scored; "
                f"the scored channels are {', '.join(channels)}."
            )
        numbers = [f"{parts.get(channel, 0.0):g}" for channel in SCORED]
        if isinstance(fusion, str):
            systems[fusion] = RRF if fusion == RRF else parts
        else:
            systems["/".join(numbers if "bm25" in parts else numbers[:3])] = parts
    return systems


def _overlap(first: NDArray[np.int64], second: NDArray[np.int64]) -> Values:
    """Return the share of units that two rankings have in common, `(n queries,)`."""
    equal = (first[:, :, None] == second[:, None, :]) & (first >= 0)[:, :, None]
    longer = np.maximum((first >= 0).sum(1), (second >= 0).sum(1))
    return np.asarray(equal.sum((1, 2)) / np.maximum(longer, 1), np.float64)


def layout_of(slices: Sequence[SliceScores]) -> tuple[list[Cell], Layout]:
    """Return the cells, and the cell and question of each observation.

    Observations are in the order of the slices, and of the queries in each.
    """
    cells: dict[Cell, int] = {}
    questions: dict[tuple[str, str], int] = {}
    cell, question = [], []
    for part in (scored.slice for scored in slices):
        for query in part.queries:
            key = Cell(part.subset, query.language, part.language)
            cell.append(cells.setdefault(key, len(cells)))
            name = (part.subset, query.question)
            question.append(questions.setdefault(name, len(questions)))
    return list(cells), Layout(np.array(question), np.array(cell))
