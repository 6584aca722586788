"""Time encoding queries of 12 tokens, all three outputs, alternating with FlagEmbedding.

    python benchmarks/query.py [--model NAME] [--layers 24] [--save]

Measures one query; 8 queries one by one, from 8 threads and in asyncio; and 32 queries one by one
and from 8 threads, where each thread encodes 4 of them in sequence.
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
    WIDTH,
    Apart,
    chosen,
    flag_encode,
    flag_model,
    interleaved,
    milliseconds,
    options,
    ratio,
    report,
    texts_of,
)
from tuning import markdown

from m3rag import M3Model
from m3rag.model import Tokenizer
from m3rag.model.kernels.device import packable

MODES = ("one", "8 one by one", "8 threads", "8 in asyncio", "32 one by one", "32 by 8 threads")


def main() -> None:
    """Run the benchmark and print its section."""
    args = options(__doc__ or "", model="", layers=24)
    if args.quick:
        args.layers, args.runs = 2, 3
    dtypes = ["float32"] + ["bfloat16"] * packable(torch.bfloat16)
    with chosen(args) as (folder, layers, width), contextlib.ExitStack() as sides:
        queries = texts_of([12] * 32, Tokenizer(folder / "tokenizer.json"))
        flag = sides.enter_context(Apart(flag_tasks, folder, queries[:1]))
        tasks: dict[str, Callable[[], object]] = dict(flag.tasks("FlagEmbedding, one"))
        for dtype in dtypes:
            model = sides.enter_context(Apart(m3rag_tasks, folder, dtype, queries))
            tasks |= model.tasks(*(f"{dtype}, {mode}" for mode in MODES))
        interleaved(tasks, 1)
        times = interleaved(tasks, args.runs, warm=1)
    rows = [[name, milliseconds(times[name]), comparison(times, name)] for name in times]
    network = f"{layers} layers" + f" of {width}" * (width != WIDTH)
    title = f"### Queries of 12 tokens, {network}"
    name = f"query-{Path(args.model).name}" if args.model else "query"
    name = report(name, f"{title}\n\n{markdown(('', 'ms', 'compared with'), rows)}", args)
    if args.save:
        medians = {name: 1000 * float(np.median(t)) for name, t in times.items()}
        plot.bars(name, f"Queries of 12 tokens, {network}", medians, "ms")


def flag_tasks(folder: Path, queries: list[str]) -> dict[str, Any]:
    """Return FlagEmbedding's task."""
    model = flag_model(folder)
    return {"FlagEmbedding, one": lambda: flag_encode(model, queries, 1)}


def m3rag_tasks(folder: Path, dtype: str, queries: list[str]) -> dict[str, Any]:
    """Return the tasks of m3rag, one for each of MODES."""
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
    return {f"{dtype}, {mode}": task for mode, task in zip(MODES, tasks, strict=True)}


def comparison(times: dict[str, list[float]], name: str) -> str:
    """Return how many times as fast a row is, and as what."""
    dtype, _, mode = name.partition(", ")
    if mode == "one":
        return f"{ratio(times, 'FlagEmbedding, one', name)} FlagEmbedding"
    sequential = f"{mode.split()[0]} one by one"
    return f"{ratio(times, f'{dtype}, {sequential}', name)} {sequential}"


def one_by_one(model: M3Model, queries: list[str]) -> None:
    """Encode queries one after the other."""
    for query in queries:
        model.encode([query])


def in_threads(model: M3Model, queries: list[list[str]]) -> None:
    """Encode each list of queries in a thread of its own, one query after the other."""
    with ThreadPoolExecutor(len(queries)) as pool:
        list(pool.map(partial(one_by_one, model), queries))


def in_asyncio(model: M3Model, queries: list[str]) -> None:
    """Encode all queries at once in one event loop."""

    async def gather() -> None:
        await asyncio.gather(*(model.aencode([q]) for q in queries))

    asyncio.run(gather())


if __name__ == "__main__":
    main()
