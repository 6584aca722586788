"""Encoding passages and long documents, three outputs, in turns with FlagEmbedding.

    python benchmarks/encode.py [--passages 64] [--batch 32] [--layers 24] [--long 0] [--save]

FlagEmbedding's batch is half of the passages, so that it runs batches as it does on a large corpus
(its default of 256 would make one padded batch of them). `--long 8` takes documents of 2,000 to
8,000 tokens instead. A full run takes FlagEmbedding minutes; use fewer `--layers` there. The rate
of a matrix product is measured after each encoding, of products that go on for about a second.
Older CPUs: set ONEDNN_MAX_CPU_ISA, MKL_ENABLE_INSTRUCTIONS and ATEN_CPU_CAPABILITY
(speed-notes.md).
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plot
import torch
from common import (
    WIDTH,
    Apart,
    flag_encode,
    flag_model,
    full_size,
    interleaved,
    options,
    passage_lengths,
    ratio,
    report,
    shown,
    texts_of,
)
from tuning import markdown

from m3rag import M3Model
from m3rag.model import Tokenizer
from m3rag.model.kernels.device import packable
from m3rag.model.kernels.onednn import PackedLinear

ROWS, PRODUCTS = 2048, 10  # 0.17 · 10¹² operations


def main() -> None:
    """Measure and print."""
    given = options(__doc__ or "", passages=64, batch=32, layers=24, long=0)
    if given.quick:
        given.layers, given.passages, given.batch, given.runs = 1, 16, 8, 3
    dtypes = ["float32"] + ["bfloat16"] * packable(torch.bfloat16)
    lengths = passage_lengths(given.passages)
    what, limit = f"{given.passages} passages of at most 512 tokens", 512
    if given.long:
        lengths, limit = np.linspace(2000, 8000, given.long).astype(int).tolist(), 8192
        what, given.batch = f"{given.long} documents of 2,000 to 8,000 tokens", given.long
    with full_size(given.layers, given.tokenizer) as folder, contextlib.ExitStack() as sides:
        tokenizer = Tokenizer(folder / "tokenizer.json")
        texts = texts_of(lengths, tokenizer)
        flag = sides.enter_context(Apart(theirs, folder, texts, given.batch, limit))
        tasks: dict[str, Callable[[], object]] = {}
        for dtype in dtypes:
            model = sides.enter_context(Apart(ours, folder, dtype, texts, limit))
            rate = sides.enter_context(Apart(products, dtype))
            tasks |= model.tasks(dtype) | rate.tasks(f"product {dtype}")
            if dtype == "float32":
                exact = model.result("first")
        interleaved(tasks, 2)  # oneDNN compiles
        times = interleaved(tasks | flag.tasks("FlagEmbedding"), given.runs)
        difference = float(np.abs(flag.result("first") - exact).max())
    lengths = [min(len(ids) + 2, limit) for ids in tokenizer.ids(texts)]
    rows, tokens = [], sum(lengths)
    work = flops(lengths, given.layers)
    for name in ["FlagEmbedding", *dtypes]:
        share = shares(work, times[name], times[f"product {name}"]) if name in dtypes else ""
        speed = f"{tokens / statistics.median(times[name]):,.0f}"
        rows.append([name, shown(times[name]), speed, ratio(times, "FlagEmbedding", name), share])
    head = ("", "ms", "tokens/s", "speed-up over FlagEmbedding", "share of the matrix-product rate")
    layers = f"{given.layers} layer{'s' * (given.layers > 1)}"
    title = f"### {what}: {tokens:,} tokens, {layers}"
    text = f"{title}\n\n{markdown(head, rows)}\n\n"
    text += f"Largest difference from FlagEmbedding's dense values in float32: {difference:.1e}."
    name = report("encode-long" if given.long else "encode", text, given)
    if given.save:
        speeds = {n: tokens / statistics.median(times[n]) for n in ["FlagEmbedding", *dtypes]}
        plot.bars(name, f"{what}, {layers}", speeds, "tokens/s")


def flops(lengths: list[int], layers: int) -> float:
    """Operations of the matrix products: the layers' and the ColBERT head's, and of attention."""
    tokens = sum(lengths)
    products = 2 * tokens * (layers * 12 * WIDTH**2 + WIDTH**2)
    return products + layers * sum(4 * n * n * WIDTH for n in lengths)


def theirs(folder: Path, texts: list[str], batch: int, limit: int) -> dict[str, Any]:
    """FlagEmbedding's tasks: all texts, and the dense vectors of the first eight."""
    model = flag_model(folder)
    return {
        "FlagEmbedding": lambda: flag_encode(model, texts, batch, limit),
        "first": lambda: flag_encode(model, texts[:8], 8, limit)["dense_vecs"],
    }


def ours(folder: Path, dtype: str, texts: list[str], limit: int) -> dict[str, Any]:
    """The same tasks for m3rag."""
    model = M3Model.load(folder, dtype=dtype, memo_bytes=0)
    return {
        dtype: lambda: model.encode(texts, max_length=limit),
        "first": lambda: model.encode(texts[:8], max_length=limit).dense,
    }


def products(dtype: str) -> dict[str, Any]:
    """A task of PRODUCTS products of one shape of the encoder, one after the other."""
    kind = {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    layer = torch.nn.Linear(WIDTH, 4 * WIDTH, dtype=kind)
    layer = PackedLinear(layer) if packable(kind) else layer
    rows = torch.randn(ROWS, WIDTH, dtype=kind)

    @torch.inference_mode()
    def task() -> None:
        for _ in range(PRODUCTS):
            layer(rows)

    return {f"product {dtype}": task}


def shares(work: float, seconds: list[float], products: list[float]) -> str:
    """The rate over that of the products in the same round: the median and the spread."""
    one = PRODUCTS * 2 * ROWS * 4 * WIDTH**2
    rounds = [work / s / (one / p) for s, p in zip(seconds, products, strict=True)]
    return f"{statistics.median(rounds):.2f} ({min(rounds):.2f}–{max(rounds):.2f})"


if __name__ == "__main__":
    main()
