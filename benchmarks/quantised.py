"""What the 2-bit copy of the dense vectors in a large folder costs, on real vectors.

    python benchmarks/quantised.py SET [--fill FILE ...] [--passages 100000] [--every 8] [--save]

The passages of a set in BEIR form, and among them the texts in `--fill`, files of JSON lines such
as training data (`.zst` and `.gz`, too): every string of 80 to 1,500 characters in them, until
there are `--passages`. "tiny" encodes them; the set's questions are asked of a folder that has
quantised them, and of all vectors exactly.
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
from common import report, shown
from tuning import markdown

from m3rag import M3Model, Passage
from m3rag.evaluation import CorpusDocument, RetrievalSet, Slice, read_set
from m3rag.evaluation.beir import rows
from m3rag.evaluation.metrics import measure_rankings, top
from m3rag.evaluation.slices import cut
from m3rag.model import SparseVectors
from m3rag.stores.base import Points, QueryPlan
from m3rag.stores.edge.store import EdgeStore

STEP = 5000


def main() -> None:
    """Encode, quantise, ask; print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("set", type=Path)
    parser.add_argument("--fill", type=Path, nargs="*", default=[])
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=8)
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    data = filled(read_set(given.set).sample(given.every), given.fill, given.passages)
    [one] = cut(data, pairs="pooled", level="document", splitter=None)
    with M3Model.load("tiny") as model, tempfile.TemporaryDirectory() as folder:
        texts = {document.id: document.text for document in data.corpus}
        dense = encoded(model, [texts[unit] for unit in one.units])
        queries = encoded(model, [query.text for query in one.queries])
        store = EdgeStore(Path(folder), dim=dense.shape[1], colbert_dim=None)
        for start in range(0, len(dense), STEP):
            store.add(points(dense[start : start + STEP], start))
        store.optimize()
        exact = queries @ dense.T
        lines = [line("exact, all passages", one, exact, exact, [])]
        for limit in (10, 100):
            found, seconds = asked(store, queries, limit, exact.shape)
            lines.append(line(f"the folder's top {limit}", one, found, exact, seconds))
        store.close()
    head = ("dense search", "nDCG@10", "recall@10 of exact", "recall@100 of exact", "ms")
    title = (
        f'### The 2-bit copy: {len(dense):,} passages, {given.set.name} among them, "tiny", '
        f"{dense.shape[1]} dimensions, {len(queries):,} queries in all languages"
    )
    given.runs, given.threads = len(queries), torch.get_num_threads()
    report("quantised", f"{title}\n\n{markdown(head, lines)}", given)


def filled(data: RetrievalSet, files: Sequence[Path], n: int) -> RetrievalSet:
    """The set with other texts among its documents, `n` in all if there are so many."""
    known = {document.text for document in data.corpus}
    others = dict.fromkeys(text for file in files for text in strings(file) if text not in known)
    more = islice(others, max(0, n - len(known)))
    extra = [CorpusDocument(f"fill-{i}", text, "und") for i, text in enumerate(more)]
    return replace(data, corpus=[*data.corpus, *extra])


def strings(file: Path) -> Iterator[str]:
    """The texts of a file of JSON lines that are as long as a passage."""
    for _, _, row in rows(file):
        yield from (text for text in leaves(row) if 80 <= len(text) <= 1500)


def leaves(value: Any) -> Iterator[str]:
    """The strings in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from leaves(part)


def encoded(model: M3Model, texts: Sequence[str]) -> np.ndarray:
    """Dense vectors `(n, d)`."""
    return model.encode(texts, sparse=False, colbert=False).dense.astype(np.float32)


def points(dense: np.ndarray, start: int) -> Points:
    """Points whose ids are their rows, without term weights."""
    nothing = SparseVectors.from_dicts([{}] * len(dense))
    passages = [Passage(str(i), "text") for i in range(start, start + len(dense))]
    return Points(passages, dense, nothing, nothing)


def asked(
    store: EdgeStore, queries: np.ndarray, limit: int, shape: tuple[int, ...]
) -> tuple[np.ndarray, list[float]]:
    """Scores `(n queries, n passages)`, -inf where nothing was found, and each search's seconds."""
    scores, seconds = np.full(shape, -np.inf, np.float32), []
    for row, query in zip(scores, queries, strict=True):
        plan = QueryPlan(("dense",), ("dense",), limit, dense=query)
        start = time.perf_counter()
        [answer] = store.search([plan])
        seconds.append(time.perf_counter() - start)
        row[[int(name) for name in answer.ids]] = answer.scores["dense"]
    return scores, seconds


def line(
    name: str, one: Slice, scores: np.ndarray, exact: np.ndarray, seconds: Sequence[float]
) -> list[str]:
    """A row of the table."""
    [values] = measure_rankings(one, scores, top(scores, 10), ["ndcg@10"]).values()
    recalls = []
    for k in (10, 100):
        best = np.take_along_axis(scores, top(exact, k), axis=1) > -np.inf
        recalls.append(f"{best.mean():.4f}" if (scores > -np.inf).sum(axis=1).min() >= k else "")
    return [name, f"{values.mean():.4f}", *recalls, shown(seconds) if seconds else ""]


if __name__ == "__main__":
    main()
