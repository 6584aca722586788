"""Stage 2: train the warm-started transformer, all three heads together, on one or two CPU cores.

Kill it at any time and start it again with the same arguments: it goes on from the last save.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import Pool
from losses import colbert_scores, m3_loss, sparse_scores
from network import PAD, POSITIONS, Shape, TinyM3
from sampling import Pair, Sampler, Tokens, padded, same_key
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset
from warm import fit_sparse, start

SHARES = {
    "translation": 0.14,
    "needle": 0.24,
    "cloze": 0.13,
    "heading": 0.12,
    "question": 0.15,
    "words": 0.22,
}
BLOCK = 32
QUERY_TOKENS, PASSAGE_TOKENS = 40, 144
CHUNK_TOKENS = 12_000  # padded tokens that run through the network at a time
OFFSET_SHARE = 0.3  # of the texts stand somewhere else than at the start of the 8192 positions
Views = tuple[Tensor, Tensor, Tensor]


class Batches(IterableDataset[list[Pair]]):
    """Endless batches, drawn in a worker process."""

    def __init__(self, pool: Path, seed: int, size: int) -> None:
        self.pool, self.seed, self.size = pool, seed, size

    def __iter__(self) -> Iterator[list[Pair]]:
        """Yield batches for ever."""
        yield from Sampler(Pool.load(self.pool), self.seed).stream(self.size, BLOCK, SHARES)


def some_offsets(ids: Tensor) -> Tensor:
    """Return first positions ``(n,)``: mostly 0, else anywhere the text still fits."""
    room = POSITIONS - 2 - ids.shape[1]
    return torch.randint(0, room + 1, (len(ids),)) * (torch.rand(len(ids)) < OFFSET_SHARE)


def encode(model: TinyM3, texts: list[Tokens], limit: int) -> tuple[Tensor, Views]:
    """Encode texts in chunks of alike length.

    Returns:
        Token ids ``(n, l)``, and the dense ``(n, d)``, sparse ``(n, l)`` and ColBERT ``(n, l - 1,
        d)`` views, padded.
    """
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    longest = min(len(texts[order[0]]) + 2, limit)
    chunks: list[Tensor] = []
    at = 0
    while at < len(order):
        size = max(1, CHUNK_TOKENS // min(len(texts[order[at]]) + 2, limit))
        chunks.append(padded([texts[i] for i in order[at : at + size]], limit))
        at += size
    # One look-up for all chunks: each one's gradient is as large as the whole table.
    flat = model.words(torch.cat([chunk.flatten() for chunk in chunks]))
    parts = []
    for chunk, words in zip(chunks, flat.split([c.numel() for c in chunks]), strict=True):
        offsets = some_offsets(chunk) if model.training else None
        dense, sparse, colbert = model(chunk, offsets, words.view(*chunk.shape, -1))
        missing = longest - chunk.shape[1]
        tail = functional.pad(sparse, (0, missing)), functional.pad(colbert, (0, 0, 0, missing))
        parts.append((dense, *tail))
    ids = [functional.pad(c, (0, longest - c.shape[1]), value=PAD) for c in chunks]
    back = torch.tensor(np.argsort(order))
    dense, sparse, colbert = (torch.cat(view)[back] for view in zip(*parts, strict=True))
    return torch.cat(ids)[back], (dense, sparse, colbert)


def scores(model: TinyM3, pairs: list[Pair]) -> dict[str, Tensor]:
    """Return the three ``(n, n)`` score matrices of a batch."""
    q_ids, (q_dense, q_sparse, q_colbert) = encode(
        model, [pair.query for pair in pairs], QUERY_TOKENS
    )
    p_ids, (p_dense, p_sparse, p_colbert) = encode(
        model, [pair.passage for pair in pairs], PASSAGE_TOKENS
    )
    return {
        "dense": q_dense @ p_dense.T,
        "sparse": sparse_scores(q_ids, q_sparse, p_ids, p_sparse),
        "colbert": colbert_scores(q_colbert, p_colbert),
    }


@torch.no_grad()
def held_out(model: TinyM3, pool: Pool, count: int = 256) -> dict[str, float]:
    """Return R@1 among ``count`` held-out passages, under names such as ``needle/colbert``."""
    model.eval()
    sampler, result = Sampler(pool, 7, held_out=True), {}
    for task in SHARES:
        pairs = sampler.batch(count, 64, {task: 1.0})
        with torch.autocast("cpu", torch.bfloat16):
            views = scores(model, pairs)
        views["fusion"] = views["dense"] + 0.3 * views["sparse"] + views["colbert"]
        for name, s in views.items():
            best = s.float().masked_fill(same_key(pairs), -torch.inf).argmax(dim=1)
            result[f"{task}/{name}"] = float((best == torch.arange(count)).float().mean())
    model.train()
    for view in ("dense", "sparse", "colbert", "fusion"):
        result[f"mean/{view}"] = sum(result[f"{task}/{view}"] for task in SHARES) / len(SHARES)
    return result


def optimizer_of(model: TinyM3, lr: float, words_lr: float) -> torch.optim.Optimizer:
    """Return AdamW; word embeddings have a rate of their own and nothing there decays."""
    words = [p for p in model.words.parameters() if p.requires_grad]
    rest = [p for n, p in model.named_parameters() if n != "words.weight" and p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": rest, "lr": lr}]
    if words:
        groups.append({"params": words, "lr": words_lr})
    for group in groups:
        group["peak"] = group["lr"]
    return torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.0, fused=True)


def schedule(step: int, done: float, warm_up: int = 50) -> float:
    """Return the share of the peak learning rate: a short rise, then half a cosine down to 2 %."""
    cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return cosine * min(1.0, (step + 1) / warm_up)


def warm_start(model: TinyM3, table: Tensor, pool: Pool) -> None:
    """Start the model from the static table, its sparse head fitted on some training texts."""
    start(model, table)
    pairs = Sampler(pool, 3).batch(1024, BLOCK, SHARES)
    texts = sorted((text for pair in pairs for text in (pair.query, pair.passage)), key=len)
    batches = (padded(texts[at : at + 64], PASSAGE_TOKENS) for at in range(0, len(texts), 64))
    counts = torch.from_numpy(np.bincount(pool.ids, minlength=len(table))).float()
    fit_sparse(model, table, counts, batches)


class Run:
    """A training run: model, optimizer, step and seconds spent, saved together."""

    def __init__(self, args: argparse.Namespace, pool: Pool) -> None:
        self.args, self.pool = args, pool
        self.path: Path = args.output / "run.pt"
        self.step, self.seconds, self.tokens = 0, 0.0, 0
        self.model = TinyM3(Shape(vocab=len(pool.word_start)))
        self.model.positions.requires_grad_(args.positions)
        if args.heads_only:
            self.model.requires_grad_(False)
            self.model.colbert.requires_grad_(True)
            self.model.sparse.requires_grad_(True)
        self.optimizer = optimizer_of(self.model, args.lr, args.words_lr)
        if self.path.exists():
            saved = torch.load(self.path, weights_only=True)
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step, self.seconds, self.tokens = saved["step"], saved["seconds"], saved["tokens"]
        else:
            warm_start(self.model, torch.load(args.static, weights_only=True), pool)
            self.log(held_out(self.model, pool))

    @property
    def done(self) -> float:
        """The share of the training time that is spent; measuring and saving do not count."""
        return float(self.seconds / (60 * self.args.minutes)) if self.args.minutes else 1.0

    def save(self) -> None:
        """Write everything that going on needs, atomically."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "tokens": self.tokens,
            "shape": self.model.shape.as_dict(),
        }
        torch.save(state, self.path.with_suffix(".new"))
        os.replace(self.path.with_suffix(".new"), self.path)

    def log(self, values: dict[str, float]) -> None:
        """Append a line to ``log.csv`` and print what matters."""
        row = {
            "step": self.step,
            "minutes": round(self.seconds / 60, 2),
            "tokens": self.tokens,
            **{name: round(value, 4) for name, value in values.items()},
        }
        path = self.args.output / "log.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=COLUMNS, restval="")
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(
            " ".join(f"{k} {v}" for k, v in row.items() if "/" not in k or k.startswith("mean")),
            flush=True,
        )

    def update(self, pairs: list[Pair]) -> dict[str, float]:
        """Take one optimizer step."""
        share = schedule(self.step, self.done)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * share
        with torch.autocast("cpu", torch.bfloat16):
            matrices = scores(self.model, pairs)
        parts = m3_loss(
            {k: s.float() for k, s in matrices.items()},
            same_key(pairs),
            self.args.temperature,
            distil=self.step >= self.args.distil_from,
        )
        self.optimizer.zero_grad()
        parts["loss"].backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self.tokens += sum(
            min(len(p.query), QUERY_TOKENS) + min(len(p.passage), PASSAGE_TOKENS) for p in pairs
        )
        return {name: part.item() for name, part in parts.items()}

    def go(self) -> None:
        """Train until the time is spent."""
        if self.done >= 1:
            self.save()
            return
        loader = DataLoader(
            Batches(self.args.pool, 1000 + self.step, self.args.batch),
            batch_size=None,
            num_workers=1,
        )
        mean: dict[str, float] = {}
        last, saved = time.monotonic(), time.monotonic()
        for pairs in loader:
            if self.done >= 1:
                break
            parts = self.update(pairs)
            mean = {k: 0.95 * mean.get(k, v) + 0.05 * v for k, v in parts.items()}
            now = time.monotonic()
            self.seconds, last = self.seconds + now - last, now
            if self.step % self.args.every == 0 or self.done >= 1:
                self.log({**mean, **held_out(self.model, self.pool)})
                last = time.monotonic()
            elif self.step % 20 == 0:
                print(
                    f"{self.step} {self.seconds:.0f}s {self.tokens / self.seconds:,.0f} tokens/s",
                    {k: round(v, 3) for k, v in mean.items()},
                    flush=True,
                )
            if now - saved > 120 or self.done >= 1:
                self.save()
                saved = time.monotonic()


LOSSES = ("loss", "dense", "sparse", "colbert", "ensemble")
COLUMNS = [
    "step",
    "minutes",
    "tokens",
    *LOSSES,
    *(
        f"{task}/{view}"
        for task in (*SHARES, "mean")
        for view in ("dense", "sparse", "colbert", "fusion")
    ),
]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path)
    parser.add_argument("static", type=Path, help="the table that stage 1 saved")
    parser.add_argument("output", type=Path, help="folder for run.pt and log.csv")
    parser.add_argument("--minutes", type=float, default=60, help="0: the warm start only")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--words-lr", type=float, default=7e-4)
    parser.add_argument("--temperature", type=float, default=0.05)
    parser.add_argument(
        "--distil-from", type=int, default=200, help="step at which self-distillation begins"
    )
    parser.add_argument("--every", type=int, default=200, help="steps between measurements")
    parser.add_argument("--positions", action="store_true", help="train positions, else they are 0")
    parser.add_argument("--heads-only", action="store_true", help="leave the encoder as it is")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    args.output.mkdir(parents=True, exist_ok=True)
    Run(args, Pool.load(args.pool)).go()


if __name__ == "__main__":
    main()
