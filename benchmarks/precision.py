"""Measure what bfloat16 and 8-bit ColBERT vectors cost in quality: nDCG@10 next to float32's.

    python benchmarks/precision.py DATA [--every 4] [--sets xquad longdocs_react] [--save]

DATA is a folder with the sets in BEIR format. The model is "tiny", because random weights say
nothing about quality. The 8-bit vectors are rounded on both sides, to 127 steps of each vector's
largest value. The engine rounds less: only the stored side, with codes of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from common import report
from tuning import markdown

from m3rag import M3Model
from m3rag.evaluation import Scores, measure, read_set, score
from m3rag.model import Encoding, MultiVectors

CHANNELS = ("dense", "sparse", "colbert")
FUSION = "cross-lingual"


class EightBit:
    """A model whose ColBERT vectors are rounded to 8 bits a dimension."""

    def __init__(self, model: M3Model) -> None:
        self.tokenizer = model.tokenizer
        self.name = model.name
        self.presets = model.presets
        self._model = model

    def encode(self, texts: Sequence[str], **options: Any) -> Encoding:
        """Encode with the model, then round the ColBERT vectors."""
        exact = self._model.encode(texts, **options)
        vectors = exact.colbert.vectors.astype(np.float32)
        step = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), 1e-9) / 127
        rounded = MultiVectors(exact.colbert.offsets, np.rint(vectors / step) * step)
        return Encoding(
            n_tokens=exact.n_tokens,
            truncated=exact.truncated,
            dense=exact.dense,
            sparse=exact.sparse,
            colbert=rounded,
        )


def main() -> None:
    """Score each set in each precision and print one table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of the sets")
    parser.add_argument("--sets", nargs="+", default=["xquad", "longdocs_react"])
    parser.add_argument("--every", type=int, default=4, help="use only every N-th question")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results.md")
    args = parser.parse_args()
    args.runs, args.threads = 1, torch.get_num_threads()
    rows: list[list[str]] = []
    with (
        M3Model.load("tiny", dtype="float32") as exact,
        M3Model.load("tiny", dtype="bfloat16") as half,
    ):
        models = {
            "float32": exact,
            "bfloat16": half,
            "float32, 8-bit ColBERT": EightBit(exact),
            "bfloat16, 8-bit ColBERT": EightBit(half),
        }
        for name in args.sets:
            data = read_set(args.data / name)
            base: Scores | None = None
            for precision, model in models.items():
                scores = score(cast("M3Model", model), data, channels=CHANNELS, every=args.every)
                base = base or scores
                rows.append([name, precision, *cells(scores, base)])
    names = [*CHANNELS, FUSION]
    head = ["set", "precision", *names, *(f"largest change, {c}" for c in CHANNELS)]
    title = f'### nDCG@10 of "tiny", every {args.every}th question; points lost in parentheses'
    report("precision", f"{title}\n\n{markdown(head, rows)}", args)


def cells(scores: Scores, base: Scores) -> list[str]:
    """Return nDCG@10 of each channel and the fusion, and the largest changes of scores."""
    rounded, exact = (
        measure(part, weights=[FUSION], metrics=["ndcg@10"]).channels for part in (scores, base)
    )
    row = []
    for name, values in rounded.items():
        lost = 100 * (exact[name]["ndcg@10"] - values["ndcg@10"])
        row.append(f"{values['ndcg@10']:.4f} ({lost:+.2f})")
    pairs = list(zip(scores.slices, base.slices, strict=True))
    for channel in CHANNELS:
        change = max(np.abs(a.channels[channel] - b.channels[channel]).max() for a, b in pairs)
        row.append(f"{change:.4f}")
    return row


if __name__ == "__main__":
    main()
