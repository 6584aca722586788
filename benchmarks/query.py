"""A query of 12 tokens, and eight at once, three outputs each, in turns with FlagEmbedding.

Eight threads are asked twice: for one query each, and for four each, one after the other.

python benchmarks/query.py [--layers 24] [--save]
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import plot
import torch
from common import (
    Apart,
    flag_encode,
    flag_model,
    full_size,
    interleaved,
    options,
    ratio,
    report,
    shown,
    texts_of,
)
from tuning import markdown

from m3rag import M3Model
from m3rag.model import Tokenizer
from m3rag.model.kernels.device import packable

HOW = ("one", "8 one by one", "8 threads", "8 in asyncio", "32 one by one", "32 by 8 threads")


def main() -> None:
    """Measure and print."""
    given = options(__doc__ or "", layers=24)
    if given.quick:
        given.layers, given.runs = 2, 3
    dtypes = ["float32"] + ["bfloat16"] * packable(torch.bfloat16)
    with full_size(given.layers, given.tokenizer) as folder, contextlib.ExitStack() as sides:
        queries = texts_of([12] * 32, Tokenizer(folder / "tokenizer.json"))
        flag = sides.enter_context(Apart(theirs, folder, queries[:1]))
        tasks: dict[str, Callable[[], object]] = dict(flag.tasks("FlagEmbedding, one"))
        for dtype in dtypes:
            model = sides.enter_context(Apart(ours, folder, dtype, queries))
            tasks |= model.tasks(*(f"{dtype}, {how}" for how in HOW))
        interleaved(tasks, 1)
        times = interleaved(tasks, given.runs, warm=1)
    rows = [[name, shown(times[name]), against(times, name)] for name in times]
    title = f"### Queries of 12 tokens, {given.layers} layers"
    name = report("query", f"{title}\n\n{markdown(('', 'ms', 'compared with'), rows)}", given)
    if given.save:
        medians = {name: 1000 * float(np.median(t)) for name, t in times.items()}
        plot.bars(name, f"Queries of 12 tokens, {given.layers} layers", medians, "ms")


def theirs(folder: Path, queries: list[str]) -> dict[str, Any]:
    """FlagEmbedding's task."""
    model = flag_model(folder)
    return {"FlagEmbedding, one": lambda: flag_encode(model, queries, 1)}


def ours(folder: Path, dtype: str, queries: list[str]) -> dict[str, Any]:
    """The tasks of m3rag, in the order of HOW."""
    model = M3Model.load(folder, dtype=dtype, memo_bytes=0)
    eight, fours = queries[:8], [queries[i : i + 4] for i in range(0, 32, 4)]
    tasks = (
        partial(model.encode, queries[:1]),
        partial(one_by_one, model, eight),
        partial(in_threads, model, [[q] for q in eight]),
        partial(in_asyncio, model, eight),
        partial(one_by_one, model, queries),
        partial(in_threads, model, fours),
    )
    return {f"{dtype}, {how}": task for how, task in zip(HOW, tasks, strict=True)}


def against(times: dict[str, list[float]], name: str) -> str:
    """What a row is compared with, and how many times as fast it is."""
    dtype, _, how = name.partition(", ")
    if how == "one":
        return f"{ratio(times, 'FlagEmbedding, one', name)} FlagEmbedding"
    alone = f"{how.split()[0]} one by one"
    return f"{ratio(times, f'{dtype}, {alone}', name)} {alone}"


def one_by_one(model: M3Model, queries: list[str]) -> None:
    """One after the other."""
    for query in queries:
        model.encode([query])


def in_threads(model: M3Model, queries: list[list[str]]) -> None:
    """A thread for each list of queries, which asks them one after the other."""
    with ThreadPoolExecutor(len(queries)) as pool:
        list(pool.map(partial(one_by_one, model), queries))


def in_asyncio(model: M3Model, queries: list[str]) -> None:
    """All queries in one event loop."""

    async def all_of_them() -> None:
        await asyncio.gather(*(model.aencode([q]) for q in queries))

    asyncio.run(all_of_them())


if __name__ == "__main__":
    main()
