"""From a model and a set to a report: score, rank, measure."""

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
from m3rag.progress import Progress
from m3rag.scoring import PRESETS, SCORED, Weights, named_weights

OVERLAP = 10  # of how many top units the share in common is told


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
    max_tokens: int = 512,
    overlap: int = 64,
    context: Context = "passage",
    mcls: int | None = None,
    aggregate: Aggregate = "max",
    progress: Progress | None = None,
) -> Report:
    """Measure a model on a set, every channel and fusion: `measure(score(...))`.

    Args:
        model: what encodes.
        data: the set.
        weights: fusions, each a preset's name, "rrf", or numbers such as `(1, 0.3, 1)`; by default
            all presets and "rrf", as far as `channels` allow.
        channels: of "dense", "sparse", "colbert" and "bm25".
        pairs: "all", "pooled", or pairs such as `["es-en"]`; see `score`.
        level: "document" or "passage"; see `score`.
        metrics: Names such as "ndcg@10".
        every: Use only every N-th question.
        max_tokens: The longest passage, as in `m3rag.split`.
        overlap: As in `m3rag.split`.
        context: "passage" or "document"; see `score`.
        mcls: Tokens between two `<s>`; see `score`.
        aggregate: "max" or "sum"; see `score`.
        progress: Called with the stages of `score` and "measuring rankings".

    Raises:
        InputError: an unknown channel, metric, level or language, or nothing to evaluate.
        MissingExtraError: the libraries of the extra "evaluate" are not installed.
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
    """The report on scores, as in `evaluate`."""
    shown = tuple(metrics)
    wanted = tuple(dict.fromkeys([*shown, *(f"recall@{k}" for k in CURVE)]))
    depth = check_metrics(wanted)
    systems = named_systems(scores.channels, weights, scores.presets)
    found: dict[str, dict[str, list[Values]]] = {n: {m: [] for m in wanted} for n in systems}
    shared: dict[tuple[str, str], list[Values]] = {p: [] for p in combinations(systems, 2)}
    keys: list[tuple[str, str, str]] = []
    done, total = 0, sum(len(one.slice.queries) for one in scores.slices) * len(systems)
    for one in scores.slices:
        best: dict[str, NDArray[np.int64]] = {}
        for name, system in systems.items():
            ranked = one.ranked(system)
            ordered = top(ranked, depth)
            best[name] = ordered[:, :OVERLAP]
            for metric, values in measure_rankings(one.slice, ranked, ordered, wanted).items():
                found[name][metric].append(values)
            done += len(ranked)
            if progress:
                progress("measuring rankings", done, total)
        for first, second in shared:
            shared[first, second].append(_in_common(best[first], best[second]))
        keys += [(query.id, one.slice.subset, one.slice.language) for query in one.slice.queries]
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
    """Channels, and fusions of them by their names: "default", "rrf", "1/0.3/1".

    Args:
        channels: those that are scored.
        weights: as in `evaluate`.
        presets: the weights that have names.

    Raises:
        InputError: a fusion needs a channel that is not scored.
    """
    if weights is None:
        names = (*presets, RRF)
        weights = [n for n in names if channel_weights(n, presets).keys() <= set(channels)]
    systems: dict[str, Weights] = {channel: channel for channel in channels}
    for fusion in weights:
        parts = channel_weights(fusion, presets)
        if missing := parts.keys() - set(channels):
            raise InputError(
                f"weights {fusion!r} need the channel {min(missing)}, which is not among "
                f"{', '.join(channels)}."
            )
        numbers = [f"{parts.get(channel, 0.0):g}" for channel in SCORED]
        plain = "/".join(numbers if "bm25" in parts else numbers[:3])
        if isinstance(fusion, str):
            systems[fusion] = RRF if fusion == RRF else parts
        else:
            systems[plain] = parts
    return systems


def _in_common(first: NDArray[np.int64], second: NDArray[np.int64]) -> Values:
    """The share of two rankings' units that both have, `(n queries,)`."""
    equal = (first[:, :, None] == second[:, None, :]) & (first >= 0)[:, :, None]
    longer = np.maximum((first >= 0).sum(1), (second >= 0).sum(1))
    return np.asarray(equal.sum((1, 2)) / np.maximum(longer, 1), np.float64)


def layout_of(slices: Sequence[SliceScores]) -> tuple[list[Cell], Layout]:
    """The cells, and where the observations belong, slice after slice, query after query."""
    cells: dict[Cell, int] = {}
    questions: dict[tuple[str, str], int] = {}
    cell, question = [], []
    for one in (scored.slice for scored in slices):
        for query in one.queries:
            here = Cell(one.subset, query.language, one.language)
            cell.append(cells.setdefault(here, len(cells)))
            asked = (one.subset, query.question)
            question.append(questions.setdefault(asked, len(questions)))
    return list(cells), Layout(np.array(question), np.array(cell))
