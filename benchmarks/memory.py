"""Compare the peak memory of encoding passages, ColBERT vectors included, with FlagEmbedding's.

    python benchmarks/memory.py [--passages 5000] [--batch 256] [--save]

Each side runs in a process of its own. The model has the full vocabulary and one narrow layer: the
vectors of all passages take the memory, and a deep model would take hours. The memory before
encoding, that of the loaded model, is listed separately. FlagEmbedding uses its default batch.
Large padded batches take it minutes, so `--quick` encodes 300 passages in batches of 32. Linux
only.
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
    """Run the benchmark and print its section."""
    args = options(__doc__ or "", passages=5000, batch=256)
    args.runs = 1
    if args.quick:
        args.passages, args.batch = 300, 32
    rows: list[list[str]] = []
    added: dict[str, int] = {}
    with full_size(1, args.tokenizer, inner=256) as folder:
        lengths = passage_lengths(args.passages)
        texts = texts_of(lengths, Tokenizer(folder / "tokenizer.json"))
        for name in ("FlagEmbedding", "float32", "bfloat16"):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                future = process.submit(encode_memory, name, folder, texts, args)
                before, highest = future.result()
            added[name] = highest - before
            share = f"{added[name] / added['FlagEmbedding']:.2f}"
            rows.append([name, *(f"{x:,}" for x in (before, highest, added[name])), share])
    head = ("", "loaded, MB", "peak, MB", "encoding, MB", "relative to FlagEmbedding")
    title = (
        f"### Memory: {args.passages:,} passages, {sum(lengths):,} tokens, ColBERT vectors kept; "
        f"one layer with a narrow feed-forward block; FlagEmbedding's batch {args.batch}"
    )
    name = report("memory", f"{title}\n\n{markdown(head, rows)}", args)
    if args.save:
        plot.bars(name, "Memory that encoding adds", added, "MB")


def encode_memory(
    name: str, folder: Path, texts: Sequence[str], args: Namespace
) -> tuple[int, int]:
    """Return the megabytes before encoding and the peak while encoding.

    Call it in a new process, so that earlier work does not count.
    """
    torch.set_num_threads(args.threads)
    if name == "FlagEmbedding":
        reference = flag_model(folder)
        flag_encode(reference, texts[:2], 2)
        kilobytes = peak(lambda: flag_encode(reference, texts, args.batch))
    else:
        model = M3Model.load(folder, dtype=name)
        model.encode(texts[:2])
        kilobytes = peak(lambda: model.encode(texts))
    before, highest = kilobytes
    return before // 1000, highest // 1000


if __name__ == "__main__":
    main()
