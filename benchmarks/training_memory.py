"""Compare the peak memory of sparse and ColBERT scores in training with FlagEmbedding's.

    python benchmarks/training_memory.py
    python benchmarks/training_memory.py --sizes 8x8 64x8 --passage-length 144 --vocabulary 32000

A size is queries x group: 8x8 means 8 queries and 64 passages, all scored against all. Each figure
is the memory that one forward and backward pass of the scores adds to a new process that holds the
inputs: their gradients and all intermediate tensors. FlagEmbedding's formulation runs where its
large tensors stay below --limit. Elsewhere the table has their computed size, marked "computed";
the pass needs more than that. Token ids are random, so few are shared, which is the worst case for
the sparse tables. Prints a Markdown table; takes a minute on an idle machine. Linux only, because
it reads /proc.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch
import torch.nn.functional as F
from proc import peak
from torch import Tensor
from torch.autograd import backward

from m3rag.training.similarity import colbert_scores, sparse_scores

FLOAT_BYTES = 4  # of a float32


@dataclass(frozen=True)
class Size:
    """The shape of one batch; lengths are in tokens."""

    queries: int
    passages: int
    query_length: int
    passage_length: int
    vocabulary: int
    width: int

    @property
    def shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The shapes of the token ids of the queries and of the passages."""
        return (self.queries, self.query_length), (self.passages, self.passage_length)

    @property
    def sparse_bytes(self) -> int:
        """Bytes of FlagEmbedding's `passages x length x vocabulary`, before and after scatter."""
        return 2 * self.passages * self.passage_length * self.vocabulary * FLOAT_BYTES

    @property
    def colbert_bytes(self) -> int:
        """Bytes of FlagEmbedding's `queries x length x passages x length` scores or gradients."""
        queries, passages = (math.prod(shape) for shape in self.shapes)
        return queries * passages * FLOAT_BYTES


def flag_sparse(q_ids: Tensor, q: Tensor, p_ids: Tensor, p: Tensor, vocabulary: int) -> Tensor:
    """Score like `EncoderOnlyEmbedderM3Model._sparse_embedding` in training, and a product."""
    tables = []
    for ids, weights in ((q_ids, q), (p_ids, p)):
        table = torch.zeros(*ids.shape, vocabulary)
        table = torch.scatter(table, dim=-1, index=ids[..., None], src=weights[..., None])
        tables.append(torch.max(table, dim=1).values)
    return tables[0] @ tables[1].T


def flag_colbert(q: Tensor, p: Tensor) -> Tensor:
    """Score like `EncoderOnlyEmbedderM3Model.compute_colbert_score`."""
    return torch.einsum("qin,pjn->qipj", q, p).max(-1).values.sum(1) / q.shape[1]


def sparse_pass(size: Size, ours: bool) -> Callable[[], None]:
    """Return a forward and backward pass over random term weights."""
    q_ids, p_ids = (torch.randint(size.vocabulary, shape) for shape in size.shapes)
    q, p = (torch.rand(ids.shape).requires_grad_() for ids in (q_ids, p_ids))
    if ours:
        return lambda: backward(sparse_scores(q_ids, q, p_ids, p).sum())
    return lambda: backward(flag_sparse(q_ids, q, p_ids, p, size.vocabulary).sum())


def colbert_pass(size: Size, ours: bool) -> Callable[[], None]:
    """Return a forward and backward pass over random unit vectors, none of them padding."""
    q, p = (
        F.normalize(torch.randn(*shape, size.width), dim=-1).requires_grad_()
        for shape in size.shapes
    )
    if not ours:
        return lambda: backward(flag_colbert(q, p).sum())
    q_mask, p_mask = (torch.ones(shape, dtype=torch.bool) for shape in size.shapes)
    return lambda: backward(colbert_scores(q, q_mask, p, p_mask).sum())


PASSES = {"sparse": sparse_pass, "colbert": colbert_pass}


def peak_bytes(channel: str, size: Size, ours: bool) -> int:
    """Return the bytes that one pass adds at its peak; call it in a new process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    small = Size(2, 2, 4, 4, 100, size.width)
    PASSES[channel](small, ours)()  # so that what libraries set up once does not count
    before, highest = peak(PASSES[channel](size, ours))
    return 1024 * (highest - before)


def measure(channel: str, size: Size, ours: bool) -> str:
    """Return `peak_bytes` of a new process as a cell of the table."""
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as process:
        return readable(process.submit(peak_bytes, channel, size, ours).result())


def readable(size: float) -> str:
    """Return a number of bytes in MB or GB."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"


def row(size: Size, limit: float) -> str:
    """Return one line of the table."""
    cells = [f"{size.queries} x {size.passages // size.queries}", str(size.passages)]
    for channel, needed in (("sparse", size.sparse_bytes), ("colbert", size.colbert_bytes)):
        cells.append(measure(channel, size, ours=True))
        cells.append(
            measure(channel, size, ours=False)
            if needed <= limit
            else f"{readable(needed)} (computed)"
        )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run all sizes and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = ["1x2", "1x4", "1x8", "2x8", "4x8", "8x8", "16x8", "32x8", "64x8"]
    parser.add_argument("--sizes", nargs="+", default=sizes, metavar="NxG", help="queries x group")
    parser.add_argument("--query-length", type=int, default=64, help="tokens (64)")
    parser.add_argument("--passage-length", type=int, default=512, help="tokens (512)")
    parser.add_argument("--vocabulary", type=int, default=250_002, help="BGE-M3's: 250002")
    parser.add_argument("--width", type=int, default=256, help='of a ColBERT vector ("tiny": 256)')
    parser.add_argument(
        "--limit", type=float, default=4.2, help="GB allowed for FlagEmbedding's tensors (4.2)"
    )
    args = parser.parse_args()
    print("| queries x group | passages | sparse, m3rag | FlagEmbedding | ColBERT, m3rag |", end="")
    print(" FlagEmbedding |\n|---|---|---|---|---|---|")
    for text in args.sizes:
        n, group = map(int, text.split("x"))
        size = Size(
            queries=n,
            passages=n * group,
            query_length=args.query_length,
            passage_length=args.passage_length,
            vocabulary=args.vocabulary,
            width=args.width,
        )
        print(row(size, args.limit * 1e9), flush=True)


if __name__ == "__main__":
    main()
