"""MaxSim of 100 candidates, and sparse scores of 10,000 passages, beside FlagEmbedding's loops.

    python benchmarks/rerank.py [--candidates 100] [--tokens 150] [--passages 10000] [--save]

Random unit vectors, and token ids that are frequent as words are (1 / rank).
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import plot
from common import WIDTH, interleaved, options, ratio, report, shown
from tuning import markdown

from m3rag.model import MultiVectors, SparseVectors
from m3rag.scoring import InvertedLists, colbert_scores, sparse_scores


def main() -> None:
    """Measure and print."""
    given = options(__doc__ or "", candidates=100, tokens=150, passages=10_000)
    if given.quick:
        given.passages, given.runs = 1000, 3
    given.runs *= 3
    rng = np.random.default_rng(0)
    times = {**maxsim(given, rng), **sparse(given, rng)}
    pairs = {
        "colbert_score, 100 calls": ("MaxSim, float32", "MaxSim, float16"),
        "dict loop": ("sparse_scores", "InvertedLists"),
    }
    rows = []
    for base, ours in pairs.items():
        rows.append([f"FlagEmbedding, {base}", shown(times[base]), ""])
        rows += [[name, shown(times[name]), ratio(times, base, name)] for name in ours]
    title = (
        f"### Scores: {given.candidates} candidates × {given.tokens} tokens × {WIDTH}, 32 query "
        f"vectors; sparse against {given.passages:,} passages of 100 tokens"
    )
    head = ("", "ms", "speed-up over FlagEmbedding")
    name = report("rerank", f"{title}\n\n{markdown(head, rows)}", given)
    if given.save:
        medians = {name: 1000 * float(np.median(t)) for name, t in times.items()}
        plot.bars(name, "Scoring candidates", medians, "ms")


def maxsim(given: SimpleNamespace, rng: np.random.Generator) -> dict[str, list[float]]:
    """Seconds of MaxSim."""
    from FlagEmbedding.inference.embedder.encoder_only.m3 import M3Embedder

    query, *rest = (unit(rng, n) for n in [32] + [given.tokens] * given.candidates)
    stacked = MultiVectors.from_rows(rest)
    half = MultiVectors(stacked.offsets, stacked.vectors.astype(np.float16))
    loop = partial(M3Embedder.colbert_score, None, query)
    tasks = {
        "colbert_score, 100 calls": lambda: [float(loop(p)) for p in rest],
        "MaxSim, float32": partial(colbert_scores, query, stacked),
        "MaxSim, float16": partial(colbert_scores, query, half),
    }
    return interleaved(tasks, given.runs, warm=3)


def sparse(given: SimpleNamespace, rng: np.random.Generator) -> dict[str, list[float]]:
    """Seconds of sparse scores of one query."""
    passages = SparseVectors.from_dicts([weights(rng, 100) for _ in range(given.passages)])
    query = SparseVectors.from_dicts([weights(rng, 12)])
    dicts = [{str(t): w for t, w in p.items()} for p in passages]
    asked = {str(t): w for t, w in query[0].items()}
    lists = InvertedLists(passages)

    def loop() -> None:
        for passage in dicts:  # as M3Embedder.compute_lexical_matching_score does
            score = 0.0
            for token, weight in asked.items():
                if token in passage:
                    score += weight * passage[token]

    tasks = {
        "dict loop": loop,
        "sparse_scores": partial(sparse_scores, query, passages),
        "InvertedLists": lambda: lists.scores(*query.rows(0)),
    }
    return interleaved(tasks, given.runs, warm=3)


def unit(rng: np.random.Generator, n: int) -> np.ndarray:
    """Random unit vectors `(n, WIDTH)`."""
    rows = rng.standard_normal((n, WIDTH), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def weights(rng: np.random.Generator, n: int) -> dict[int, float]:
    """At most n token weights; the k-th most frequent token is about 1 / k as frequent."""
    tokens = np.unique((250_000 ** rng.random(n)).astype(int) + 5)
    return dict(zip(tokens.tolist(), rng.uniform(0.01, 0.4, len(tokens)).tolist(), strict=True))


if __name__ == "__main__":
    main()
