"""Compare MaxSim of 100 candidates and sparse scores of 10,000 passages with FlagEmbedding's loops.

    python benchmarks/rerank.py [--candidates 100] [--tokens 150] [--passages 10000] [--save]
    python benchmarks/rerank.py --pairs 30 [--layers 24] [--save]

The vectors are random unit vectors. Token ids are as frequent as words: 1 / rank. With `--pairs`, a
cross-encoder of bge-reranker-v2-m3's shape scores so many passages of at most 500 tokens against a
query, alternating with FlagEmbedding's FlagReranker, each in a process of its own.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import plot
import torch
from common import (
    WIDTH,
    Apart,
    full_size,
    interleaved,
    milliseconds,
    options,
    passage_lengths,
    ratio,
    report,
    texts_of,
)
from numpy.typing import NDArray
from tuning import markdown

from m3rag import M3CrossEncoder
from m3rag.model import MultiVectors, SparseVectors, Tokenizer
from m3rag.model.cross_encoder import USUAL_LENGTH
from m3rag.model.kernels.device import packable
from m3rag.model.scoring_thread import query_limit
from m3rag.scoring import InvertedLists, colbert_scores, sparse_scores


def main() -> None:
    """Run the benchmark and print its section."""
    args = options(__doc__ or "", candidates=100, tokens=150, passages=10_000, pairs=0, layers=24)
    if args.quick:
        args.passages, args.layers, args.runs = 1000, 1, 3
    if args.pairs:
        cross_encoders(args)
        return
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


def cross_encoders(args: Namespace) -> None:
    """Time cross-encoders, and print their section."""
    dtypes = ["float32"] + ["bfloat16"] * packable(torch.bfloat16)
    with (
        full_size(args.layers, args.tokenizer, cross_encoder=True) as folder,
        contextlib.ExitStack() as sides,
    ):
        tokenizer = Tokenizer(folder / "tokenizer.json")
        query, *passages = texts_of([12, *passage_lengths(args.pairs)], tokenizer)
        pairs = [(query, passage) for passage in passages]
        cuts = tokenizer.cut_pairs(pairs, USUAL_LENGTH, query_limit(USUAL_LENGTH))
        tokens = sum(len(cut.ids) for cut in cuts)
        tasks: dict[str, Callable[[], object]] = {}
        for name in ["FlagReranker", *dtypes]:
            side = sides.enter_context(Apart(scoring_tasks, folder, name, pairs))
            tasks |= side.tasks(name)
            side.result(name)  # unmeasured: oneDNN compiles its code
        times = interleaved(tasks, args.runs)
    rows = [
        [
            name,
            milliseconds(each),
            f"{tokens / np.median(each):,.0f}",
            ratio(times, "FlagReranker", name),
        ]
        for name, each in times.items()
    ]
    layers = f"{args.layers} layer{'s' * (args.layers > 1)}"
    title = f"### A cross-encoder: {args.pairs} passages for a query, {tokens:,} tokens, {layers}"
    head = ("", "ms", "tokens/s", "speed-up over FlagReranker")
    report("cross-encoder", f"{title}\n\n{markdown(head, rows)}", args)


def scoring_tasks(folder: Path, name: str, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Return the task of one side: FlagReranker, or m3rag with a dtype."""
    if name != "FlagReranker":
        model = M3CrossEncoder.load(folder, dtype=name)
        return {name: lambda: model.score_pairs(pairs)}
    os.environ["TQDM_DISABLE"] = "1"
    warnings.simplefilter("ignore")
    from FlagEmbedding import FlagReranker

    theirs = FlagReranker(str(folder), use_fp16=False, devices="cpu")
    return {name: lambda: theirs.compute_score(pairs)}


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
