"""Measure searches in a growing folder: time, memory, disk space and recall.

    python benchmarks/search.py [--most 100000] [--colbert 2000] [--kept FOLDER] [--save]

The vectors are synthetic and of BGE-M3's sizes: 1024 dimensions in clusters, and 100 term weights.
Recall is measured against an exact scan of the same vectors; on real vectors it may differ.
`--colbert` is the size of a second index that also stores 150 ColBERT vectors per passage, and in
which all channels are searched. Adding a thousand passages to it takes 13 s; `--kept` names a
folder in which it is kept for the next run.

Each query runs twice. The first run touches memory that was not used before, which in a virtual
machine takes longer than the search itself.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import plot
from common import WIDTH, milliseconds, options, report
from numpy.typing import NDArray
from proc import status
from rerank import normalized, unit, weights
from tuning import markdown

from m3rag import Passage
from m3rag.model import MultiVectors, SparseVectors
from m3rag.stores.base import Points, QueryPlan
from m3rag.stores.edge.store import EdgeStore

STEP, TOKENS = 1000, 150  # passages added at a time; ColBERT vectors of each
Floats = NDArray[np.float32]
TwoRuns = tuple[list[float], list[float]]  # seconds of each search, in the first and second run


def main() -> None:
    """Grow an index tenfold at a time and search it."""
    args = options(__doc__ or "", most=100_000, colbert=2000, kept="")
    if args.quick:
        args.most, args.colbert, args.runs = 1000, 200, 3
    args.runs *= 20  # queries
    sizes = [n for n in (1000, 10_000, 100_000, 1_000_000) if n <= args.most]
    rows: list[list[str]] = []
    medians: dict[str, list[float]] = {"dense": [], "sparse": [], "dense + sparse": []}
    space: dict[str, list[float]] = {"disk": [], "engine's memory": []}
    rng = np.random.default_rng(0)
    centres, added = unit(rng, 64), np.empty((0, WIDTH), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        store = EdgeStore(Path(folder), dim=WIDTH, colbert_dim=None)
        for size in sizes:
            batches = [added]
            start = time.perf_counter()
            for first in range(len(added), size, STEP):
                points = make_points(rng, centres, first)
                batches.append(points.dense)
                store.add(points)
            add_seconds = time.perf_counter() - start
            optimize_seconds = seconds_of(store.optimize)
            added = np.concatenate(batches)
            times, recall = search(store, added, centres, rng, args.runs)
            for name, seconds in times.items():
                medians[name].append(1000 * float(np.median(seconds[0])))
            for name, megabytes in (("disk", disk(folder)), ("engine's memory", resident(store))):
                space[name].append(megabytes)
            cells = [f"{recall:.3f}", f"{add_seconds:.1f}", f"{optimize_seconds:.1f}"]
            cells += [f"{megabytes[-1]:,.0f}" for megabytes in space.values()]
            rows.append([f"{size:,}", *map(first_and_again, times.values()), *cells])
        store.close()
    channels = [f"{name}, ms" for name in medians]
    head = ["passages", *channels, "recall@10 of dense"]
    head += ["adding since the row above, s", "optimize, s"]
    head += [f"{name}, MB" for name in space]
    title = "### Search in a folder, dense and sparse, the 10 best hits"
    text = f"{title}\n\n{markdown(head, rows)}\n\n{all_channels(args, rng, centres)}"
    name = report("search", text, args)
    if args.save:
        plot.lines(name, "Time of a search in a folder, by passages", sizes, medians, "ms")
        plot.lines(f"{name}-space", "What a folder takes, by passages", sizes, space, "MB")


def make_points(rng: np.random.Generator, centres: Floats, start: int, tokens: int = 0) -> Points:
    """Draw STEP passages around the centres, each with `tokens` ColBERT vectors."""
    passages = [Passage(str(i), f"passage {i}") for i in range(start, start + STEP)]
    sparse = SparseVectors.from_dicts([weights(rng, 100) for _ in range(STEP)])
    colbert = None
    if tokens:
        vectors = unit(rng, STEP * tokens).astype(np.float16)
        colbert = MultiVectors(np.arange(STEP + 1) * tokens, vectors)
    return Points(passages, around(rng, centres, STEP), sparse, sparse, colbert)


def around(rng: np.random.Generator, centres: Floats, n: int) -> Floats:
    """Draw unit vectors `(n, WIDTH)`, each near a centre."""
    return normalized(centres[rng.integers(len(centres), size=n)] + unit(rng, n))


def search(
    store: EdgeStore, dense: Floats, centres: Floats, rng: np.random.Generator, runs: int
) -> tuple[dict[str, TwoRuns], float]:
    """Return the seconds of each kind of search, and the recall@10 of dense."""
    queries = around(rng, centres, runs)
    terms = [weights(rng, 12) for _ in queries]
    times: dict[str, TwoRuns] = {}
    found: list[set[int]] = []
    for channels in (("dense",), ("sparse",), ("dense", "sparse")):
        plans = [
            QueryPlan(channels, channels, 10, dense=query, sparse=term)
            for query, term in zip(queries, terms, strict=True)
        ]
        store.search(plans[:2])
        times[" + ".join(channels)] = run_twice(store, plans)
        if channels == ("dense",):
            found = [{int(i) for i in hits.ids} for hits in store.search(plans)]
    best = np.argsort(-(queries @ dense.T), axis=1)[:, :10]
    recalls = [len(f & set(b.tolist())) / len(b) for f, b in zip(found, best, strict=True)]
    return times, float(np.mean(recalls))


def all_channels(args: argparse.Namespace, rng: np.random.Generator, centres: Floats) -> str:
    """Measure searches by all channels in an index of their own; return a sentence on them."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.kept or temporary)
        store = EdgeStore(folder, dim=WIDTH, colbert_dim=WIDTH)
        for start in range(store.count(None), args.colbert, STEP):
            store.add(make_points(rng, centres, start, TOKENS))
        store.optimize()
        parts = []
        for candidates in (50, 100):
            queries = around(rng, centres, args.runs)
            times = run_twice(store, [full_plan(rng, query, candidates) for query in queries])
            parts.append(f"{candidates} of each, {first_and_again(times)} ms")
        store.close()
    return (
        f"All channels, {args.colbert:,} passages with {TOKENS} ColBERT vectors each, the union "
        f"of the candidates of dense and sparse scored by MaxSim: {'; '.join(parts)}. "
        '"Again" is the second run of the same queries.'
    )


def full_plan(rng: np.random.Generator, dense: Floats, candidates: int) -> QueryPlan:
    """Return the plan of a search by all channels."""
    retrieve, terms, tokens = ("dense", "sparse"), weights(rng, 12), unit(rng, 12)
    score = (*retrieve, "colbert")
    return QueryPlan(retrieve, score, candidates, dense=dense, sparse=terms, colbert=tokens)


def run_twice(store: EdgeStore, plans: Sequence[QueryPlan]) -> TwoRuns:
    """Return the seconds of each search in a first and a second run of all."""
    first, again = ([seconds_of(partial(store.search, [p])) for p in plans] for _ in range(2))
    return first, again


def first_and_again(seconds: TwoRuns) -> str:
    """Return the milliseconds of the first run with their spread, and those of the second."""
    return f"{milliseconds(seconds[0])}, again {milliseconds(seconds[1]).split()[0]}"


def seconds_of(task: Callable[[], object]) -> float:
    """Run a task and return the seconds it takes."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def disk(folder: str) -> float:
    """Return the megabytes that a folder takes on the disk; holes in sparse files do not count."""
    files = [file for file in Path(folder).rglob("*") if file.is_file()]
    return sum(file.stat().st_blocks for file in files) * 512 / 1e6


def resident(store: EdgeStore) -> float:
    """Return the megabytes of the engine process's memory, mapped files included."""
    assert store.process is not None
    pid = store.process.pid
    assert pid is not None
    return status("VmRSS", pid) / 1000


if __name__ == "__main__":
    main()
