"""Peak memory of the sparse and the ColBERT scores in training, beside FlagEmbedding's formulation.

    python benchmarks/training_memory.py
    python benchmarks/training_memory.py --sizes 8x8 64x8 --passage-length 144 --vocabulary 32000

A size is queries x group: 8x8 are 8 queries and 64 passages, all scored against all. Each figure
is what one forward and backward pass of the scores adds to a fresh process that holds the inputs:
their gradients and everything on the way. FlagEmbedding's formulation is run where its large
tensors stay below --limit; else their size is given, marked "computed": the pass needs more than
that. Token ids are random, so that few are shared: the worst case for the sparse tables. Linux only
(it reads /proc). Takes a minute on an idle machine; prints a table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch
import torch.nn.functional as F
from proc import peak
from torch import Tensor

from m3rag.training.similarity import colbert_scores, sparse_scores

NUMBER = 4  # bytes of a float32


@dataclass(frozen=True)
class Size:
    """One batch: n queries of l tokens, m passages of k."""

    n: int
    m: int
    l: int  # noqa: E741 (the shape's name in the library's comments)
    k: int
    vocabulary: int
    width: int

    @property
    def sparse_bytes(self) -> int:
        """FlagEmbedding's `passages x length x vocabulary`, before and after its scatter."""
        return 2 * self.m * self.k * self.vocabulary * NUMBER

    @property
    def colbert_bytes(self) -> int:
        """FlagEmbedding's `queries x length x passages x length`: scores, later their gradient."""
        return self.n * self.l * self.m * self.k * NUMBER


def flag_sparse(q_ids: Tensor, q: Tensor, p_ids: Tensor, p: Tensor, vocabulary: int) -> Tensor:
    """As `EncoderOnlyEmbedderM3Model._sparse_embedding` in training, then an inner product."""
    tables = []
    for ids, weights in ((q_ids, q), (p_ids, p)):
        table = torch.zeros(*ids.shape, vocabulary)
        table = torch.scatter(table, dim=-1, index=ids[..., None], src=weights[..., None])
        tables.append(torch.max(table, dim=1).values)
    return tables[0] @ tables[1].T


def flag_colbert(q: Tensor, p: Tensor) -> Tensor:
    """As `EncoderOnlyEmbedderM3Model.compute_colbert_score`."""
    return torch.einsum("qin,pjn->qipj", q, p).max(-1).values.sum(1) / q.shape[1]


def sparse_pass(size: Size, ours: bool) -> Callable[[], None]:
    """A forward and backward pass over random term weights."""
    ids = [torch.randint(size.vocabulary, s) for s in ((size.n, size.l), (size.m, size.k))]
    q, p = (torch.rand(x.shape).requires_grad_() for x in ids)
    if ours:
        return lambda: sparse_scores(ids[0], q, ids[1], p).sum().backward()
    return lambda: flag_sparse(ids[0], q, ids[1], p, size.vocabulary).sum().backward()


def colbert_pass(size: Size, ours: bool) -> Callable[[], None]:
    """A forward and backward pass over random unit vectors, none of them padding."""
    q, p = (
        F.normalize(torch.randn(*s, size.width), dim=-1).requires_grad_()
        for s in ((size.n, size.l), (size.m, size.k))
    )
    if not ours:
        return lambda: flag_colbert(q, p).sum().backward()
    masks = [torch.ones(x.shape[:2], dtype=torch.bool) for x in (q, p)]
    return lambda: colbert_scores(q, masks[0], p, masks[1]).sum().backward()


PASSES = {"sparse": sparse_pass, "colbert": colbert_pass}


def added(view: str, size: Size, ours: bool) -> int:
    """Bytes that one pass adds at its peak; to be run in a process of its own."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    small = Size(2, 2, 4, 4, 100, size.width)
    PASSES[view](small, ours)()  # what libraries set up once is not the batch's
    before, highest = peak(PASSES[view](size, ours))
    return 1024 * (highest - before)


def measured(view: str, size: Size, ours: bool) -> str:
    """`added` in a fresh process, as a cell."""
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as process:
        return shown(process.submit(added, view, size, ours).result())


def shown(size: float) -> str:
    """Bytes for people."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"


def row(size: Size, limit: float) -> str:
    """One line of the table."""
    cells = [f"{size.n} x {size.m // size.n}", str(size.m)]
    for view, theirs in (("sparse", size.sparse_bytes), ("colbert", size.colbert_bytes)):
        cells.append(measured(view, size, ours=True))
        cells.append(
            measured(view, size, ours=False) if theirs <= limit else f"{shown(theirs)} (computed)"
        )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = ["1x2", "1x4", "1x8", "2x8", "4x8", "8x8", "16x8", "32x8", "64x8"]
    parser.add_argument("--sizes", nargs="+", default=sizes, metavar="NxG", help="queries x group")
    parser.add_argument("--query-length", type=int, default=64, help="tokens (64)")
    parser.add_argument("--passage-length", type=int, default=512, help="tokens (512)")
    parser.add_argument("--vocabulary", type=int, default=250_002, help="BGE-M3's: 250002")
    parser.add_argument("--width", type=int, default=256, help='of a ColBERT vector ("tiny": 256)')
    parser.add_argument("--limit", type=float, default=4.2, help="GB to give FlagEmbedding's (4.2)")
    asked = parser.parse_args()
    print("| queries x group | passages | sparse, m3rag | FlagEmbedding | ColBERT, m3rag |", end="")
    print(" FlagEmbedding |\n|---|---|---|---|---|---|")
    for text in asked.sizes:
        n, group = map(int, text.split("x"))
        size = Size(
            n=n,
            m=n * group,
            l=asked.query_length,
            k=asked.passage_length,
            vocabulary=asked.vocabulary,
            width=asked.width,
        )
        print(row(size, asked.limit * 1e9), flush=True)


if __name__ == "__main__":
    main()
