"""Stage 1: train a static bag of embeddings, the cheapest way to learn what words mean.

The vector of a text is the sum of the vectors of its pieces. So the length of a vector becomes the
importance of the piece, and its direction the meaning. warm.py starts the transformer from both.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from data import Pool
from sampling import Pair, Sampler, Tokens, same_key
from torch import Tensor, nn
from torch.autograd import backward
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset

WIDTH = 254  # the transformer has 256; two hold importance and <s>
SHARES = {
    "translation": 0.27,
    "needle": 0.14,
    "cloze": 0.08,
    "heading": 0.08,
    "question": 0.10,
    "words": 0.33,
}
QUERY_TOKENS, PASSAGE_TOKENS = 64, 128
Bag = tuple[Tensor, Tensor]  # flat ids, start of each text
Batch = tuple[Bag, Bag, Tensor]  # queries, passages, pairs that are no negatives


def bag(texts: list[Tokens], limit: int) -> Bag:
    """Return texts as flat ids and offsets, each cut at `limit` tokens."""
    cut = [text[:limit].astype(np.int64) for text in texts]
    starts = np.cumsum([0] + [len(text) for text in cut[:-1]])
    return torch.from_numpy(np.concatenate(cut)), torch.from_numpy(starts)


def bags(pairs: list[Pair]) -> Batch:
    """Return the bags of the queries and the passages, and the mask of no negatives."""
    queries = bag([pair.query for pair in pairs], QUERY_TOKENS)
    passages = bag([pair.passage for pair in pairs], PASSAGE_TOKENS)
    return queries, passages, same_key(pairs)


class Batches(IterableDataset[Batch]):
    """Endless batches, drawn in a worker process."""

    def __init__(self, pool: Path, seed: int, size: int) -> None:
        self.pool, self.seed, self.size = pool, seed, size

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches forever."""
        sampler = Sampler(Pool.load(self.pool), self.seed)
        for pairs in sampler.stream(self.size, 64, SHARES):
            yield bags(pairs)


def initial(pool: Pool, width: int) -> Tensor:
    """Return random vectors `(vocab, width)`, long for rare pieces and short for frequent ones."""
    share = np.bincount(pool.ids, minlength=len(pool.word_start)) / len(pool.ids)
    importance = torch.from_numpy(1e-3 / (1e-3 + share)).float()
    return functional.normalize(torch.randn(len(share), width), dim=1) * importance[:, None]


def loss_of(table: nn.EmbeddingBag, batch: Batch, temperature: float) -> Tensor:
    """Return the symmetric in-batch contrastive loss."""
    queries, passages, same = batch
    q, p = (functional.normalize(table(*side), dim=1) for side in (queries, passages))
    scores = (q @ p.T / temperature).masked_fill(same, -torch.inf)
    target = torch.arange(len(scores))
    return (
        functional.cross_entropy(scores, target) + functional.cross_entropy(scores.T, target)
    ) / 2


@torch.inference_mode()
def recall(table: nn.EmbeddingBag, pool: Pool, count: int = 512) -> dict[str, float]:
    """Return R@1 among `count` held-out passages for each task."""
    sampler, result = Sampler(pool, 7, held_out=True), {}
    for task in SHARES:
        queries, passages, same = bags(sampler.batch(count, 64, {task: 1.0}))
        q, p = (functional.normalize(table(*side), dim=1) for side in (queries, passages))
        best = (q @ p.T).masked_fill(same, -torch.inf).argmax(dim=1)
        result[task] = float((best == torch.arange(count)).float().mean())
    return result


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path, help="the .npz file that data.py wrote")
    parser.add_argument("output", type=Path, help="the .pt file of the (vocab, 254) table")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--temperature", type=float, default=0.05)
    parser.add_argument("--start", type=Path, help="a table to continue from")
    parser.add_argument("--seed", type=int, default=0, help="of the random draw of pairs")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    pool = Pool.load(args.pool)
    first = torch.load(args.start, weights_only=True) if args.start else initial(pool, WIDTH)
    table = nn.EmbeddingBag.from_pretrained(first, freeze=False, mode="sum")
    optimizer = torch.optim.Adagrad(table.parameters(), lr=args.lr, fused=True)
    loader = DataLoader(Batches(args.pool, args.seed, args.batch), batch_size=None, num_workers=1)

    began = last = time.monotonic()
    average = None
    for step, batch in enumerate(loader, start=1):
        share = (time.monotonic() - began) / (args.minutes * 60)
        for group in optimizer.param_groups:
            # Constant, then falling over the second half.
            group["lr"] = args.lr * min(1.0, 0.1 + 2 * (1 - share))
        loss = loss_of(table, batch, args.temperature)
        optimizer.zero_grad()
        backward(loss)
        optimizer.step()
        average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
        if share >= 1 or time.monotonic() - last > 60:
            last = time.monotonic()
            scores = " ".join(f"{k} {v:.3f}" for k, v in recall(table, pool).items())
            print(f"{share:4.0%} step {step} loss {average:.3f} held-out R@1 {scores}", flush=True)
            torch.save(table.weight.detach(), args.output)
        if share >= 1:
            break


if __name__ == "__main__":
    main()
