"""What `tune` and `balance` are worth on a set that is asked in several languages.

    python benchmarks/tuning.py SET [--model tiny] [--every 4] [--seeds 5] [--pooled]

Scores a folder in BEIR form once, every language of documents on its own. Then, for each of a few
numbers of questions, draws that many of one half of the questions, tunes on them, and measures what
comes out on the other half, `--seeds` times. With `--pooled` it ranks the documents of all
languages together instead, and tells how many of the top 10 are of the query's language, as the
scores are and balanced by language. Prints a table in Markdown; `benchmarks/quality.py` puts both
into docs/quality.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

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
    """Score a set, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pooled", action="store_true")
    given = parser.parse_args()
    data = read_set(given.set)
    with M3Model.load(given.model) as model:
        pairs = "pooled" if given.pooled else "all"
        scores = score(model, data, pairs=pairs, every=given.every)
    print(languages_table(scores, data) if given.pooled else tuning_table(scores, given.seeds))


def tuning_table(scores: Scores, seeds: int, progress: Progress | None = None) -> str:
    """A line for each number of questions that are tuned on, the last for a half of them all."""
    names = sorted({query.question for one in scores.slices for query in one.slice.queries})
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
    """A line for each channel and weighted sum: nDCG@10, and hits in the query's language.

    Args:
        scores: of a corpus whose languages are ranked together.
        data: the set they are of.
        fusions: weighted sums, by the names to show.
    """
    spoken = {document.id: document.language for document in data.corpus}
    rows = []
    both = [(one, Objective(one)) for one in (scores, balance(scores, data))]
    for name, fusion in {"dense": (1, 0, 0), "colbert": (0, 0, 1), **fusions}.items():
        weights, cells = parse_weights(fusion, scores.presets), [name]
        for one, objective in both:
            shares = [same_language(part, weights, spoken) for part in one.slices]
            cells += [f"{_value(objective, weights):.3f}", f"{np.concatenate(shares).mean():.2f}"]
        rows.append(cells)
    own = "of the query's language"
    return markdown(("", "nDCG@10", own, "nDCG@10, balanced", own), rows)


def same_language(
    one: SliceScores, weights: Mapping[str, float], spoken: Mapping[str, str]
) -> np.ndarray:
    """The share of each query's top 10 in its own language, `(n queries,)`."""
    languages = np.array([spoken[unit] for unit in one.slice.units])
    asked = np.array([query.language for query in one.slice.queries])
    return (languages[top(one.ranked(weights), 10)] == asked[:, None]).mean(axis=1)


def one_draw(scores: Scores, names: Sequence[str], size: int, seed: int) -> tuple[float, ...]:
    """nDCG@10 on the other half, NaN if nothing was learned, and whether that is used."""
    order = np.random.default_rng(seed).permutation(names)
    tuning = tune(only(scores, set(order[:size])))
    judge = Objective(only(scores, set(order[len(order) // 2 :])))
    used = _value(judge, tuning.preset)
    learned = _value(judge, tuning.learned) if tuning.learned else np.nan
    best, usual = (_value(judge, scores.presets[name]) for name in (tuning.best, "cross-lingual"))
    return used, learned, best, usual, float(tuning.tuned)


def _value(objective: Objective, fusion: Preset | Mapping[str, float]) -> float:
    preset = fusion if isinstance(fusion, Preset) else Preset(fusion)
    return float(objective.values(preset) @ objective.importance)


def only(scores: Scores, names: set[str]) -> Scores:
    """The scores of some questions."""
    return replace(scores, slices=list(_slices(scores, names)))


def _slices(scores: Scores, names: set[str]) -> Iterator[SliceScores]:
    for one in scores.slices:
        rows = [i for i, query in enumerate(one.slice.queries) if query.question in names]
        if not rows:  # a small language may have none of them
            continue
        part = replace(
            one.slice,
            queries=[one.slice.queries[i] for i in rows],
            relevant=[one.slice.relevant[i] for i in rows],
        )
        yield SliceScores(part, {c: matrix[rows] for c, matrix in one.channels.items()})


def markdown(head: Row, rows: Iterable[Row]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
