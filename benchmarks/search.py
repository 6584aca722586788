"""Search in a folder: time, memory, disk and recall as it grows.

    python benchmarks/search.py [--most 100000] [--colbert 2000] [--kept FOLDER] [--save]

Synthetic vectors of BGE-M3's sizes: 1024 dimensions in clusters, 100 token weights. Recall is
against an exact scan of the same vectors; on real vectors it may differ. `--colbert` is the size of
a second index that also stores 150 ColBERT vectors a passage, in which all channels are searched:
13 s to add a thousand passages, so `--kept` keeps it for another time.

Questions are asked once, and then once more: the first time they touch memory that nobody has
touched before, which in a virtual machine takes longer than the search.
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
from common import WIDTH, options, report, shown
from proc import status
from rerank import unit, weights
from tuning import markdown

from m3rag import Passage
from m3rag.model import MultiVectors, SparseVectors
from m3rag.stores.base import Points, QueryPlan
from m3rag.stores.edge.store import EdgeStore

STEP, TOKENS = 1000, 150


def main() -> None:
    """Grow an index tenfold at a time and ask it questions."""
    given = options(__doc__ or "", most=100_000, colbert=2000, kept="")
    if given.quick:
        given.most, given.colbert, given.runs = 1000, 200, 3
    given.runs *= 20  # questions
    sizes = [n for n in (1000, 10_000, 100_000, 1_000_000) if n <= given.most]
    rows, medians = [], {"dense": [], "sparse": [], "dense + sparse": []}
    space: dict[str, list[float]] = {"disk": [], "engine's memory": []}
    rng = np.random.default_rng(0)
    centres, kept, since = unit(rng, 64), [], time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        store = EdgeStore(Path(folder), dim=WIDTH, colbert_dim=None)
        for size in sizes:
            since = time.perf_counter()
            while sum(map(len, kept)) < size:
                points = points_of(rng, centres, sum(map(len, kept)), 0)
                kept.append(points.dense)
                store.add(points)
            added = time.perf_counter() - since
            store.optimize()
            optimized = time.perf_counter() - since - added
            dense = np.concatenate(kept)
            times, recall = asked(store, dense, centres, rng, given.runs)
            for name, seconds in times.items():
                medians[name].append(1000 * float(np.median(seconds[0])))
            for name, megabytes in (("disk", disk(folder)), ("engine's memory", resident(store))):
                space[name].append(megabytes)
            took = [f"{added:.1f}", f"{optimized:.1f}", *(f"{m[-1]:,.0f}" for m in space.values())]
            rows.append([f"{size:,}", *map(both, times.values()), f"{recall:.3f}", *took])
        store.close()
    channels = [f"{name}, ms" for name in medians]
    head = ["passages", *channels, "recall@10 of dense"]
    head += ["adding since the row above, s", "optimize, s"]
    head += [f"{name}, MB" for name in space]
    title = "### Search in a folder, dense and sparse, the 10 best hits"
    text = f"{title}\n\n{markdown(head, rows)}\n\n{all_channels(given, rng, centres)}"
    name = report("search", text, given)
    if given.save:
        plot.lines(name, "Time of a search in a folder, by passages", sizes, medians, "ms")
        plot.lines(f"{name}-space", "What a folder takes, by passages", sizes, space, "MB")


def points_of(rng: np.random.Generator, centres: np.ndarray, start: int, tokens: int) -> Points:
    """A thousand passages around the centres; with `tokens`, as many ColBERT vectors each."""
    passages = [Passage(str(i), f"passage {i}") for i in range(start, start + STEP)]
    sparse = SparseVectors.from_dicts([weights(rng, 100) for _ in range(STEP)])
    colbert = None
    if tokens:
        vectors = unit(rng, STEP * tokens).astype(np.float16)
        colbert = MultiVectors(np.arange(STEP + 1) * tokens, vectors)
    return Points(passages, around(rng, centres, STEP), sparse, sparse, colbert)


def around(rng: np.random.Generator, centres: np.ndarray, n: int) -> np.ndarray:
    """Unit vectors `(n, WIDTH)`, each near a centre."""
    rows = centres[rng.integers(len(centres), size=n)] + unit(rng, n)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def asked(
    store: EdgeStore, dense: np.ndarray, centres: np.ndarray, rng: np.random.Generator, runs: int
) -> tuple[dict[str, tuple[list[float], list[float]]], float]:
    """Seconds of each kind of search, and how many of the exact ten best are found."""
    queries = around(rng, centres, runs)
    terms = [weights(rng, 12) for _ in queries]
    times, found = {}, []
    for name in (("dense",), ("sparse",), ("dense", "sparse")):
        plans = [
            QueryPlan(name, name, 10, dense=query, sparse=term)
            for query, term in zip(queries, terms, strict=True)
        ]
        store.search(plans[:2])
        times[" + ".join(name)] = twice(store, plans)
        if name == ("dense",):
            answers = store.search(plans)
            found = [{int(i) for i in answer.ids} for answer in answers]
    best = np.argsort(-(queries @ dense.T), axis=1)[:, :10]
    hits = [len(f & set(b.tolist())) / len(b) for f, b in zip(found, best, strict=True)]
    return times, float(np.mean(hits))


def all_channels(given: argparse.Namespace, rng: np.random.Generator, centres: np.ndarray) -> str:
    """A line on a search by all channels."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(given.kept or temporary)
        store = EdgeStore(folder, dim=WIDTH, colbert_dim=WIDTH)
        for start in range(store.count(None), given.colbert, STEP):
            store.add(points_of(rng, centres, start, TOKENS))
        store.optimize()
        times = {}
        for candidates in (50, 100):
            asked_for = around(rng, centres, given.runs)
            times[candidates] = twice(store, [plan_of(rng, q, candidates) for q in asked_for])
        store.close()
    found = "; ".join(f"{n} of each, {both(taken)} ms" for n, taken in times.items())
    return (
        f"All channels, {given.colbert:,} passages with {TOKENS} ColBERT vectors each, the union "
        f"of the candidates of dense and sparse scored by MaxSim: {found}. "
        '"Again" is the same queries a second time.'
    )


def plan_of(rng: np.random.Generator, dense: np.ndarray, candidates: int) -> QueryPlan:
    """A question to all channels."""
    retrieve, terms, tokens = ("dense", "sparse"), weights(rng, 12), unit(rng, 12)
    score = (*retrieve, "colbert")
    return QueryPlan(retrieve, score, candidates, dense=dense, sparse=terms, colbert=tokens)


def twice(store: EdgeStore, plans: Sequence[QueryPlan]) -> tuple[list[float], list[float]]:
    """Seconds of each search the first time, and the second."""
    first, again = ([timed(partial(store.search, [p])) for p in plans] for _ in range(2))
    return first, again


def both(seconds: tuple[list[float], list[float]]) -> str:
    """Milliseconds of the first time with their spread, and of the second."""
    return f"{shown(seconds[0])}, again {shown(seconds[1]).split()[0]}"


def timed(task: Callable[[], object]) -> float:
    """The seconds it takes."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def disk(folder: str) -> float:
    """Megabytes that the files take on the disk; they have holes."""
    files = [file for file in Path(folder).rglob("*") if file.is_file()]
    return sum(file.stat().st_blocks for file in files) * 512 / 1e6


def resident(store: EdgeStore) -> float:
    """Megabytes of the engine's memory, mapped files included."""
    return status("VmRSS", store.process.pid) / 1000


if __name__ == "__main__":
    main()
