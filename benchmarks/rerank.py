"""Compare MaxSim of 100 candidates and sparse scores of 10,000 passages with FlagEmbedding's loops.

    python benchmarks/rerank.py [--candidates 100] [--tokens 150] [--passages 10000] [--save]

The vectors are random unit vectors. Token ids are as frequent as words: 1 / rank.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from functools import partial

import numpy as np
import plot
from common import WIDTH, interleaved, milliseconds, options, ratio, report
from numpy.typing import NDArray
from tuning import markdown

from m3rag.model import MultiVectors, SparseVectors
from m3rag.scoring import InvertedLists, colbert_scores, sparse_scores


def main() -> None:
    """Run the benchmark and print its section."""
    args = options(__doc__ or "", candidates=100, tokens=150, passages=10_000)
    if args.quick:
        args.passages, args.runs = 1000, 3
    args.runs *= 3
    rng = np.random.default_rng(0)
    times = {**maxsim(args, rng), **sparse(args, rng)}
    comparisons = {
        "colbert_score, 100 calls": ("MaxSim, float32", "MaxSim, float16"),
        "dict loop": ("sparse_scores", "InvertedLists"),
    }
    rows = []
    for base, names in comparisons.items():
        rows.append([f"FlagEmbedding, {base}", milliseconds(times[base]), ""])
        rows += [[name, milliseconds(times[name]), ratio(times, base, name)] for name in names]
    title = (
        f"### Scores: {args.candidates} candidates × {args.tokens} tokens × {WIDTH}, 32 query "
        f"vectors; sparse against {args.passages:,} passages of 100 tokens"
    )
    head = ("", "ms", "speed-up over FlagEmbedding")
    name = report("rerank", f"{title}\n\n{markdown(head, rows)}", args)
    if args.save:
        medians = {name: 1000 * float(np.median(t)) for name, t in times.items()}
        plot.bars(name, "Scoring candidates", medians, "ms")


def maxsim(args: Namespace, rng: np.random.Generator) -> dict[str, list[float]]:
    """Return the seconds of MaxSim."""
    from FlagEmbedding.inference.embedder.encoder_only.m3 import M3Embedder

    query = unit(rng, 32)
    candidates = [unit(rng, args.tokens) for _ in range(args.candidates)]
    stacked = MultiVectors.from_rows(candidates)
    half = MultiVectors(stacked.offsets, stacked.vectors.astype(np.float16))
    loop = partial(M3Embedder.colbert_score, None, query)
    tasks: dict[str, Callable[[], object]] = {
        "colbert_score, 100 calls": lambda: [float(loop(c)) for c in candidates],
        "MaxSim, float32": partial(colbert_scores, query, stacked),
        "MaxSim, float16": partial(colbert_scores, query, half),
    }
    return interleaved(tasks, args.runs, warm=3)


def sparse(args: Namespace, rng: np.random.Generator) -> dict[str, list[float]]:
    """Return the seconds of the sparse scores of one query."""
    passages = SparseVectors.from_dicts([weights(rng, 100) for _ in range(args.passages)])
    query = SparseVectors.from_dicts([weights(rng, 12)])
    dicts = [{str(t): w for t, w in p.items()} for p in passages]
    query_dict = {str(t): w for t, w in query[0].items()}
    lists = InvertedLists(passages)

    def loop() -> None:
        for passage in dicts:  # as M3Embedder.compute_lexical_matching_score does
            score = 0.0
            for token, weight in query_dict.items():
                if token in passage:
                    score += weight * passage[token]

    tasks: dict[str, Callable[[], object]] = {
        "dict loop": loop,
        "sparse_scores": partial(sparse_scores, query, passages),
        "InvertedLists": lambda: lists.scores(*query.rows(0)),
    }
    return interleaved(tasks, args.runs, warm=3)


def unit(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    """Return random unit vectors `(n, WIDTH)`."""
    return normalized(rng.standard_normal((n, WIDTH), np.float32))


def normalized(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rows with a length of 1."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def weights(rng: np.random.Generator, n: int) -> dict[int, float]:
    """Draw at most n term weights; the k-th most frequent token is about 1 / k as frequent."""
    tokens = np.unique((250_000 ** rng.random(n)).astype(int) + 5)
    return dict(zip(tokens.tolist(), rng.uniform(0.01, 0.4, len(tokens)).tolist(), strict=True))


if __name__ == "__main__":
    main()
