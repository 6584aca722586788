"""Measure what `tune` and `balance` gain on a set with queries in several languages.

    python benchmarks/tuning.py SET [--model tiny] [--every 4] [--seeds 5] [--pooled]

Scores a set in BEIR format once, the documents of each language separately. Then, for several
numbers of questions, draws that many from one half of the questions, tunes on them and measures the
result on the other half, `--seeds` times. With `--pooled`, it ranks the documents of all languages
together instead and reports how many of the top 10 are in the query's language, with and without
balancing by language. Prints a Markdown table; `benchmarks/quality.py` writes both tables into
benchmarks/quality-notes.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from m3rag import M3Model
from m3rag.evaluation import RetrievalSet, Scores, SliceScores, read_set, score
from m3rag.evaluation.metrics import top
from m3rag.index.presets import Preset
from m3rag.progress import Progress
from m3rag.scoring import PRESETS, Weights, parse_weights
from m3rag.tuning import balance, tune
from m3rag.tuning.objective import Objective

SIZES = (10, 20, 40, 80, 160, 320)
Row = Sequence[str]


def main() -> None:
    """Score the set and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("set", help="folder of a set in BEIR format")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--every", type=int, default=1, help="use only every N-th question")
    parser.add_argument(
        "--seeds", type=int, default=5, help="random draws for each number of questions"
    )
    parser.add_argument("--pooled", action="store_true", help="rank all languages together")
    args = parser.parse_args()
    data = read_set(args.set)
    with M3Model.load(args.model) as model:
        pairs = "pooled" if args.pooled else "all"
        scores = score(model, data, pairs=pairs, every=args.every)
    print(languages_table(scores, data) if args.pooled else tuning_table(scores, args.seeds))


def tuning_table(scores: Scores, seeds: int, progress: Progress | None = None) -> str:
    """Return a table with a row for each number of questions; the last is half of them all."""
    names = sorted({query.question for part in scores.slices for query in part.slice.queries})
    half = len(names) // 2
    sizes = [size for size in SIZES if size < half] + [half]
    rows = []
    for size in sizes:
        draws = np.array([one_draw(scores, names, size, seed) for seed in range(seeds)])
        *means, used = draws.mean(axis=0)
        figures = ["none" if np.isnan(mean) else f"{mean:.3f}" for mean in means]
        rows.append([str(size), *figures, f"{used * seeds:.0f} of {seeds}"])
        if progress:
            progress("tuning", len(rows), len(sizes))
    head = ("questions", "to use", "learned", "best preset", "cross-lingual", "learned is used")
    return markdown(head, rows)


def languages_table(
    scores: Scores, data: RetrievalSet, fusions: Mapping[str, Weights] = PRESETS
) -> str:
    """Return a table of nDCG@10 and the share of hits in the query's language.

    Args:
        scores: The scores of a corpus whose languages are ranked together.
        data: The set of these scores.
        fusions: Weighted sums by name; each has a row, as have the channels dense and colbert.
    """
    languages = {document.id: document.language for document in data.corpus}
    rows = []
    both = [(version, Objective(version)) for version in (scores, balance(scores, data))]
    for name, fusion in {"dense": (1, 0, 0), "colbert": (0, 0, 1), **fusions}.items():
        weights, cells = parse_weights(fusion, scores.presets), [name]
        for version, objective in both:
            shares = [same_language(part, weights, languages) for part in version.slices]
            cells += [f"{_value(objective, weights):.3f}", f"{np.concatenate(shares).mean():.2f}"]
        rows.append(cells)
    share = "of the query's language"
    return markdown(("", "nDCG@10", share, "nDCG@10, balanced", share), rows)


def same_language(
    part: SliceScores, weights: Mapping[str, float], languages: Mapping[str, str]
) -> NDArray[np.float64]:
    """Return the share of each query's top 10 in its own language, `(n queries,)`."""
    of_units = np.array([languages[unit] for unit in part.slice.units])
    of_queries = np.array([query.language for query in part.slice.queries])
    same = of_units[top(part.ranked(weights), 10)] == of_queries[:, None]
    return np.asarray(same.mean(axis=1))


def one_draw(scores: Scores, names: Sequence[str], size: int, seed: int) -> tuple[float, ...]:
    """Tune on some questions of one half and measure nDCG@10 on the other half.

    Returns:
        nDCG@10 of the preset that `tune` recommends, of the learned weights (NaN if there are
        none), of the best preset and of "cross-lingual"; and 1 if the learned weights are
        recommended, else 0.
    """
    order = np.random.default_rng(seed).permutation(names)
    tuning = tune(only(scores, set(order[:size])))
    judge = Objective(only(scores, set(order[len(order) // 2 :])))
    used = _value(judge, tuning.preset)
    learned = _value(judge, tuning.learned) if tuning.learned else np.nan
    best, fixed = (_value(judge, scores.presets[name]) for name in (tuning.best, "cross-lingual"))
    return used, learned, best, fixed, float(tuning.tuned)


def _value(objective: Objective, fusion: Preset | Mapping[str, float]) -> float:
    preset = fusion if isinstance(fusion, Preset) else Preset(fusion)
    return float(objective.values(preset) @ objective.importance)


def only(scores: Scores, names: set[str]) -> Scores:
    """Return the scores of some questions only."""
    return replace(scores, slices=list(_slices(scores, names)))


def _slices(scores: Scores, names: set[str]) -> Iterator[SliceScores]:
    for part in scores.slices:
        rows = [i for i, query in enumerate(part.slice.queries) if query.question in names]
        if not rows:  # a small language may have none of them
            continue
        smaller = replace(
            part.slice,
            queries=[part.slice.queries[i] for i in rows],
            relevant=[part.slice.relevant[i] for i in rows],
        )
        yield SliceScores(smaller, {c: matrix[rows] for c, matrix in part.channels.items()})


def markdown(head: Row, rows: Iterable[Row]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
