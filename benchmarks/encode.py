"""Time encoding passages or long documents, all three outputs, alternating with FlagEmbedding.

    python benchmarks/encode.py [--model NAME] [--passages 64] [--batch 32] [--layers 24] [--save]

The model is any that `M3Model.load` takes; without `--model` it has BGE-M3's shape. The lengths are
those of a corpus of passages; with `--length 200`, all have that many tokens. FlagEmbedding's batch
is half of the passages, so that it runs several batches, as on a large corpus; its default of 256
would make one padded batch. `--long 8` encodes eight documents of 2,000 to 8,000 tokens instead;
FlagEmbedding then takes minutes with all layers, so use fewer `--layers`. The rate of a
matrix product is measured right after each encoding, over about a second. To simulate an older CPU,
set ONEDNN_MAX_CPU_ISA, MKL_ENABLE_INSTRUCTIONS and ATEN_CPU_CAPABILITY (speed-notes.md).
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
    chosen,
    flag_encode,
    flag_model,
    interleaved,
    milliseconds,
    options,
    passage_lengths,
    ratio,
    report,
    texts_of,
)
from tuning import markdown

from m3rag import M3Model
from m3rag.model import Tokenizer
from m3rag.model.kernels.device import packable
from m3rag.model.kernels.onednn import PackedLinear

ROWS, PRODUCTS = 2048, 10  # 0.17 · 10¹² operations


def main() -> None:
    """Run the benchmark and print its section."""
    args = options(__doc__ or "", model="", passages=64, length=0, batch=32, layers=24, long=0)
    if args.quick:
        args.layers, args.passages, args.batch, args.runs = 1, 16, 8, 3
    dtypes = ["float32"] + ["bfloat16"] * packable(torch.bfloat16)
    lengths = passage_lengths(args.passages)
    subject, limit = f"{args.passages} passages of at most 512 tokens", 512
    if args.length:
        lengths, limit = [args.length] * args.passages, max(args.length, limit)
        subject = f"{args.passages} passages of about {args.length} tokens"
    if args.long:
        lengths, limit = np.linspace(2000, 8000, args.long).astype(int).tolist(), 8192
        subject, args.batch = f"{args.long} documents of 2,000 to 8,000 tokens", args.long
    with chosen(args) as (folder, layers, width), contextlib.ExitStack() as sides:
        tokenizer = Tokenizer(folder / "tokenizer.json")
        texts = texts_of(lengths, tokenizer)
        flag = sides.enter_context(Apart(flag_tasks, folder, texts, args.batch, limit))
        tasks: dict[str, Callable[[], object]] = {}
        for dtype in dtypes:
            model = sides.enter_context(Apart(m3rag_tasks, folder, dtype, texts, limit))
            rate = sides.enter_context(Apart(product_tasks, dtype))
            tasks |= model.tasks(dtype) | rate.tasks(f"product {dtype}")
            if dtype == "float32":
                exact = model.result("first")
        interleaved(tasks, 2)  # unmeasured: oneDNN compiles its code
        times = interleaved(tasks | flag.tasks("FlagEmbedding"), args.runs)
        difference = float(np.abs(flag.result("first") - exact).max())
    lengths = [min(len(ids) + 2, limit) for ids in tokenizer.ids(texts)]
    rows, tokens = [], sum(lengths)
    work = flops(lengths, layers, width)
    for name in ["FlagEmbedding", *dtypes]:
        share = (
            product_rate_share(work, times[name], times[f"product {name}"])
            if name in dtypes
            else ""
        )
        speed = f"{tokens / statistics.median(times[name]):,.0f}"
        rows.append(
            [name, milliseconds(times[name]), speed, ratio(times, "FlagEmbedding", name), share]
        )
    head = ("", "ms", "tokens/s", "speed-up over FlagEmbedding", "share of the matrix-product rate")
    network = f"{layers} layer{'s' * (layers > 1)}" + f" of {width}" * (width != WIDTH)
    title = f"### {subject}: {tokens:,} tokens, {network}"
    text = f"{title}\n\n{markdown(head, rows)}\n\n"
    text += f"Largest difference from FlagEmbedding's dense values in float32: {difference:.1e}."
    name = "encode-long" if args.long else "encode"
    name = report(f"{name}-{Path(args.model).name}" if args.model else name, text, args)
    if args.save:
        speeds = {n: tokens / statistics.median(times[n]) for n in ["FlagEmbedding", *dtypes]}
        plot.bars(name, f"{subject}, {network}", speeds, "tokens/s")


def flops(lengths: list[int], layers: int, width: int) -> float:
    """Return the operations of attention and of the layers' and the ColBERT head's products."""
    tokens = sum(lengths)
    products = 2 * tokens * (layers * 12 * width**2 + width**2)
    return products + layers * sum(4 * n * n * width for n in lengths)


def flag_tasks(folder: Path, texts: list[str], batch: int, limit: int) -> dict[str, Any]:
    """Return FlagEmbedding's tasks: all texts, and the dense vectors of the first eight."""
    model = flag_model(folder)
    return {
        "FlagEmbedding": lambda: flag_encode(model, texts, batch, limit),
        "first": lambda: flag_encode(model, texts[:8], 8, limit)["dense_vecs"],
    }


def m3rag_tasks(folder: Path, dtype: str, texts: list[str], limit: int) -> dict[str, Any]:
    """Return the same tasks for m3rag."""
    model = M3Model.load(folder, dtype=dtype, memo_bytes=0)
    return {
        dtype: lambda: model.encode(texts, max_length=limit),
        "first": lambda: model.encode(texts[:8], max_length=limit).dense,
    }


def product_tasks(dtype: str) -> dict[str, Any]:
    """Return a task of PRODUCTS products of one shape of the encoder, one after the other."""
    kind = {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    linear = torch.nn.Linear(WIDTH, 4 * WIDTH, dtype=kind)
    layer = PackedLinear(linear) if packable(kind) else linear
    rows = torch.randn(ROWS, WIDTH, dtype=kind)

    @torch.inference_mode()
    def task() -> None:
        for _ in range(PRODUCTS):
            layer(rows)

    return {f"product {dtype}": task}


def product_rate_share(work: float, seconds: list[float], products: list[float]) -> str:
    """Return the rate divided by that of the products of its round: the median and the spread."""
    product_work = PRODUCTS * 2 * ROWS * 4 * WIDTH**2
    rounds = [work / s / (product_work / p) for s, p in zip(seconds, products, strict=True)]
    return f"{statistics.median(rounds):.2f} ({min(rounds):.2f}–{max(rounds):.2f})"


if __name__ == "__main__":
    main()
