"""What `tune` is worth on a set whose questions are asked in several languages.

    python benchmarks/tuning.py SET [--model tiny] [--every 4] [--seeds 5]

Scores a folder in BEIR form once, every language of documents on its own. Then, for each of a few
numbers of questions, draws that many of one half of the questions, tunes on them, and measures what
comes out on the other half, `--seeds` times. With `--pooled` it ranks the documents of all
languages together instead, and tells how many of the top 10 are of the query's language, as the
scores are and balanced by language. Prints tables in Markdown.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from m3rag import M3Model
from m3rag.evaluation import RetrievalSet, Scores, SliceScores, score
from m3rag.evaluation.metrics import top
from m3rag.evaluation.tuning import balance, tune
from m3rag.evaluation.tuning.objective import Objective
from m3rag.index.presets import Preset
from m3rag.scoring import PRESETS

SIZES = (10, 20, 40, 80, 160, 320)


def main() -> None:
    """Score a set, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pooled", action="store_true")
    given = parser.parse_args()
    data = RetrievalSet.read(given.set)
    with M3Model.load(given.model) as model:
        pairs = "pooled" if given.pooled else "all"
        scores = score(model, data, pairs=pairs, every=given.every)
    if given.pooled:
        report_languages(scores, data)
    else:
        report(scores, given.seeds)


def report(scores: Scores, seeds: int) -> None:
    """A line for each number of questions, and one for each half."""
    names = sorted({query.question for one in scores.slices for query in one.slice.queries})
    print("| questions | to use | learned | best preset | cross-lingual | learned is used |")
    print("|---|---|---|---|---|---|")
    half = len(names) // 2
    for size in [n for n in SIZES if n < half] + [half]:
        rows = [one_draw(scores, names, size, seed) for seed in range(seeds)]
        means = np.mean(rows, axis=0)
        figures = " | ".join(f"{value:.3f}" for value in means[:-1])
        print(f"| {size} | {figures} | {means[-1] * seeds:.0f} of {seeds} |", flush=True)


def report_languages(scores: Scores, data: RetrievalSet) -> None:
    """A line for each channel and preset: nDCG@10, and hits in the query's language."""
    spoken = {document.id: document.language for document in data.corpus}
    print("| | nDCG@10 | of the query's language | nDCG@10, balanced | of the query's language |")
    print("|---|---|---|---|---|")
    both = scores, balance(scores, data)
    for name in ("dense", "colbert", *PRESETS):
        figures = []
        for one in both:
            weights = PRESETS.get(name, {name: 1.0})
            objective = Objective(one)
            figures.append(float(objective.values(Preset(weights)) @ objective.importance))
            shares = [same_language(part, weights, spoken) for part in one.slices]
            figures.append(float(np.concatenate(shares).mean()))
        ndcg, share, balanced_ndcg, balanced_share = figures
        cells = f"{ndcg:.3f} | {share:.2f} | {balanced_ndcg:.3f} | {balanced_share:.2f}"
        print(f"| {name} | {cells} |")


def same_language(
    one: SliceScores, weights: Mapping[str, float], spoken: Mapping[str, str]
) -> np.ndarray:
    """The share of each query's top 10 in its own language, `(n queries,)`."""
    languages = np.array([spoken[unit] for unit in one.slice.units])
    asked = np.array([query.language for query in one.slice.queries])
    return (languages[top(one.ranked(weights), 10)] == asked[:, None]).mean(axis=1)


def one_draw(scores: Scores, names: Sequence[str], size: int, seed: int) -> tuple[float, ...]:
    """nDCG@10 on the other half, and whether learned weights are used."""
    order = np.random.default_rng(seed).permutation(names)
    tuning = tune(only(scores, set(order[:size])))
    judge = Objective(only(scores, set(order[len(order) // 2 :])))

    def value(preset: Preset) -> float:
        return float(judge.values(preset) @ judge.importance)

    learned = value(tuning.learned or tuning.preset)
    best, usual = (value(Preset(PRESETS[name])) for name in (tuning.best, "cross-lingual"))
    return value(tuning.preset), learned, best, usual, float(tuning.tuned)


def only(scores: Scores, names: set[str]) -> Scores:
    """The scores of some questions."""
    return replace(scores, slices=list(_slices(scores, names)))


def _slices(scores: Scores, names: set[str]) -> Iterator[SliceScores]:
    for one in scores.slices:
        rows = [i for i, query in enumerate(one.slice.queries) if query.question in names]
        part = replace(
            one.slice,
            queries=[one.slice.queries[i] for i in rows],
            relevant=[one.slice.relevant[i] for i in rows],
        )
        yield SliceScores(part, {c: matrix[rows] for c, matrix in one.channels.items()})


if __name__ == "__main__":
    main()
