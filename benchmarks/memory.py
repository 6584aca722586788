"""Peak memory of encoding passages with ColBERT vectors, beside FlagEmbedding. Linux only.

    python benchmarks/memory.py [--passages 5000] [--batch 256] [--save]

Each side runs in a process of its own. The model has the full vocabulary and one narrow layer: what
takes memory here is the vectors of all passages, and a deep model would take hours. Each side's
memory before encoding, the loaded model's, is told apart. FlagEmbedding's batch is its default;
large padded batches take it minutes, so `--quick` has 300 passages in batches of 32.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import plot
import torch
from common import (
    flag_encode,
    flag_model,
    full_size,
    options,
    passage_lengths,
    report,
    texts_of,
)
from proc import peak
from tuning import markdown

from m3rag import M3Model
from m3rag.model import Tokenizer


def main() -> None:
    """Measure and print."""
    given = options(__doc__ or "", passages=5000, batch=256)
    given.runs = 1
    if given.quick:
        given.passages, given.batch = 300, 32
    rows, most = [], {}
    with full_size(1, given.tokenizer, inner=256) as folder:
        lengths = passage_lengths(given.passages)
        texts = texts_of(lengths, Tokenizer(folder / "tokenizer.json"))
        for name in ("FlagEmbedding", "float32", "bfloat16"):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                work = process.submit(encoded, name, folder, texts, given)
                before, highest = work.result()
            most[name] = highest - before
            share = f"{most[name] / most['FlagEmbedding']:.2f}"
            rows.append([name, *(f"{x:,}" for x in (before, highest, most[name])), share])
    head = ("", "loaded, MB", "peak, MB", "encoding, MB", "relative to FlagEmbedding")
    title = (
        f"### Memory: {given.passages:,} passages, {sum(lengths):,} tokens, ColBERT vectors kept; "
        f"one layer with a narrow feed-forward block; FlagEmbedding's batch {given.batch}"
    )
    name = report("memory", f"{title}\n\n{markdown(head, rows)}", given)
    if given.save:
        plot.bars(name, "Memory that encoding adds", most, "MB")


def encoded(name: str, folder: Path, texts: Sequence[str], given: Namespace) -> tuple[int, int]:
    """Megabytes before encoding, and the most while encoding; for a process of its own."""
    torch.set_num_threads(given.threads)
    if name == "FlagEmbedding":
        theirs = flag_model(folder)
        flag_encode(theirs, texts[:2], 2)
        found = peak(lambda: flag_encode(theirs, texts, given.batch))
    else:
        ours = M3Model.load(folder, dtype=name)
        ours.encode(texts[:2])
        found = peak(lambda: ours.encode(texts))
    before, highest = (kilobytes // 1000 for kilobytes in found)
    return before, highest


if __name__ == "__main__":
    main()
