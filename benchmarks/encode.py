"""Encoding passages and long documents, three outputs, beside FlagEmbedding in one process.

    python benchmarks/encode.py [--passages 64] [--batch 32] [--layers 24] [--long 0] [--save]

FlagEmbedding's batch is half of the passages, so that it runs batches as it does on a large corpus
(its default of 256 would make one padded batch of them). `--long 8` takes documents of 2,000 to
8,000 tokens instead. A full run takes FlagEmbedding minutes; use fewer `--layers` there.
"""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import plot
import torch
from common import (
    WIDTH,
    flag_encode,
    flag_model,
    full_size,
    interleaved,
    markdown,
    options,
    passage_lengths,
    ratio,
    report,
    shown,
    texts_of,
)

from m3rag import M3Model
from m3rag.model.linear import PackedLinear, packable


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
    with full_size(given.layers, given.tokenizer) as folder:
        theirs = flag_model(folder)
        ours = {d: M3Model.load(folder, dtype=d, memo_bytes=0) for d in dtypes}
        texts = texts_of(lengths, ours["float32"].tokenizer)
        tasks = {d: partial(m.encode, texts, max_length=limit) for d, m in ours.items()}
        for task in tasks.values():
            task()  # oneDNN compiles
        tasks["FlagEmbedding"] = partial(flag_encode, theirs, texts, given.batch, limit)
        times = interleaved(tasks, given.runs)
        exact = ours["float32"].encode(texts[:8], max_length=limit)
        flag = flag_encode(theirs, texts[:8], 8, limit)
        difference = float(np.abs(flag["dense_vecs"] - exact.dense).max())
        tokens = int(ours["float32"].encode(texts, max_length=limit).n_tokens.sum())
        for model in ours.values():
            model.close()
    rows = []
    work = flops(lengths, given.layers)
    for name in times:
        median = float(np.median(times[name]))
        peak = "" if name == "FlagEmbedding" else f"{work / median / gemm_rate(name):.2f}"
        speed = f"{tokens / median:,.0f}"
        rows.append([name, shown(times[name]), speed, ratio(times, "FlagEmbedding", name), peak])
    head = ("", "ms", "tokens/s", "times FlagEmbedding", "of the matrix product's rate")
    title = f"### {what}: {tokens:,} tokens, {given.layers} layers"
    text = f"{title}\n\n{markdown(head, rows)}\n\n"
    text += f"Largest difference of dense values, float32: {difference:.1e}."
    name = "encode-long" if given.long else "encode"
    report(name, text, given)
    if given.save:
        speeds = {name: tokens / float(np.median(times[name])) for name in times}
        plot.bars(name, f"{what}, {given.layers} layers", speeds, "tokens/s")


def flops(lengths: list[int], layers: int) -> float:
    """Operations of the matrix products: the layers' and the ColBERT head's, and of attention."""
    tokens = sum(lengths)
    products = 2 * tokens * (layers * 12 * WIDTH**2 + WIDTH**2)
    return products + layers * sum(4 * n * n * WIDTH for n in lengths)


def gemm_rate(dtype: str) -> float:
    """Operations a second of one product of the encoder's shape, the best of 10."""
    kind = {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    layer = torch.nn.Linear(WIDTH, 4 * WIDTH, dtype=kind)
    layer = PackedLinear(layer) if packable(kind) else layer
    rows, best = torch.randn(2048, WIDTH, dtype=kind), float("inf")
    with torch.inference_mode():
        for _ in range(10):
            start = time.perf_counter()
            layer(rows)
            best = min(best, time.perf_counter() - start)
    return 2 * 2048 * 4 * WIDTH**2 / best


if __name__ == "__main__":
    main()
