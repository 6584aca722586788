"""Measure what the 2-bit copy of the dense vectors in a large folder costs, on real vectors.

    python benchmarks/quantised.py SET [--fill FILE ...] [--passages 100000] [--every 8] [--save]

The corpus is a set in BEIR format, filled up to `--passages` with other texts: the strings of 80 to
1,500 characters in the `--fill` files, which hold JSON lines such as training data (also `.zst` and
`.gz`). "tiny" encodes them. The set's queries search a folder that has quantised the vectors, and
all vectors exactly.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import milliseconds, report
from numpy.typing import NDArray
from tuning import markdown

from m3rag import M3Model, Passage
from m3rag.evaluation import CorpusDocument, RetrievalSet, Slice, read_set
from m3rag.evaluation.beir import rows
from m3rag.evaluation.metrics import measure_rankings, top
from m3rag.evaluation.slices import cut
from m3rag.model import SparseVectors
from m3rag.stores.base import Points, QueryPlan
from m3rag.stores.edge.store import EdgeStore

STEP = 5000  # passages added at a time
Floats = NDArray[np.float32]


def main() -> None:
    """Encode, quantise and search; print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("set", type=Path, help="folder of a set in BEIR format")
    parser.add_argument("--fill", type=Path, nargs="*", default=[], help="files of JSON lines")
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=8, help="use only every N-th question")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results.md")
    args = parser.parse_args()
    data = filled(read_set(args.set).sample(args.every), args.fill, args.passages)
    [corpus] = cut(data, pairs="pooled", level="document", splitter=None)
    with M3Model.load("tiny") as model, tempfile.TemporaryDirectory() as folder:
        texts = {document.id: document.text for document in data.corpus}
        dense = encode(model, [texts[unit] for unit in corpus.units])
        queries = encode(model, [query.text for query in corpus.queries])
        store = EdgeStore(Path(folder), dim=dense.shape[1], colbert_dim=None)
        for start in range(0, len(dense), STEP):
            store.add(points(dense[start : start + STEP], start))
        store.optimize()
        exact = queries @ dense.T
        table = [table_row("exact, all passages", corpus, exact, exact, [])]
        for limit in (10, 100):
            found, seconds = search(store, queries, limit, exact.shape)
            table.append(table_row(f"the folder's top {limit}", corpus, found, exact, seconds))
        store.close()
    head = ("dense search", "nDCG@10", "recall@10 of exact", "recall@100 of exact", "ms")
    title = (
        f'### The 2-bit copy: {len(dense):,} passages, {args.set.name} among them, "tiny", '
        f"{dense.shape[1]} dimensions, {len(queries):,} queries in all languages"
    )
    args.runs, args.threads = len(queries), torch.get_num_threads()
    report("quantised", f"{title}\n\n{markdown(head, table)}", args)


def filled(data: RetrievalSet, files: Sequence[Path], n: int) -> RetrievalSet:
    """Return the set with other texts added to its corpus, up to `n` documents in all."""
    known = {document.text for document in data.corpus}
    others = dict.fromkeys(text for file in files for text in strings(file) if text not in known)
    more = islice(others, max(0, n - len(known)))
    extra = [CorpusDocument(f"fill-{i}", text, "und") for i, text in enumerate(more)]
    return replace(data, corpus=[*data.corpus, *extra])


def strings(file: Path) -> Iterator[str]:
    """Yield the strings of a file of JSON lines that are as long as a passage."""
    for _, _, row in rows(file):
        yield from (text for text in leaves(row) if 80 <= len(text) <= 1500)


def leaves(value: Any) -> Iterator[str]:
    """Yield the strings in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from leaves(part)


def encode(model: M3Model, texts: Sequence[str]) -> Floats:
    """Return dense vectors `(n, d)`."""
    return model.encode(texts, sparse=False, colbert=False).dense.astype(np.float32)


def points(dense: Floats, start: int) -> Points:
    """Return points without term weights; the ids are the row numbers, from `start` on."""
    no_terms = SparseVectors.from_dicts([{}] * len(dense))
    passages = [Passage(str(i), "text") for i in range(start, start + len(dense))]
    return Points(passages, dense, no_terms, no_terms)


def search(
    store: EdgeStore, queries: Floats, limit: int, shape: tuple[int, ...]
) -> tuple[Floats, list[float]]:
    """Return scores `(n queries, n passages)`, -inf if not found, and each search's seconds."""
    scores, seconds = np.full(shape, -np.inf, np.float32), []
    for row, query in zip(scores, queries, strict=True):
        plan = QueryPlan(("dense",), ("dense",), limit, dense=query)
        start = time.perf_counter()
        [found] = store.search([plan])
        seconds.append(time.perf_counter() - start)
        row[[int(name) for name in found.ids]] = found.scores["dense"]
    return scores, seconds


def table_row(
    name: str, corpus: Slice, scores: Floats, exact: Floats, seconds: Sequence[float]
) -> list[str]:
    """Return a row: nDCG@10, the recall of the exact search's hits, and the time."""
    [values] = measure_rankings(corpus, scores, top(scores, 10), ["ndcg@10"]).values()
    recalls = []
    for k in (10, 100):
        best = np.take_along_axis(scores, top(exact, k), axis=1) > -np.inf
        recalls.append(f"{best.mean():.4f}" if (scores > -np.inf).sum(axis=1).min() >= k else "")
    return [name, f"{values.mean():.4f}", *recalls, milliseconds(seconds) if seconds else ""]


if __name__ == "__main__":
    main()
