"""What `M3Index.search(..., balance="lang")` is worth where several languages are ranked together.

    python benchmarks/balance.py SET [--model tiny] [--every 8] [--candidates 100 300]

Indexes a folder in BEIR form, all languages in one index, and asks its questions as they are and
balanced. Prints a table in Markdown, a line for each number of candidates: nDCG@10, and the share
of the top 10 that is in the question's language.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from tuning import markdown

from m3rag import M3Index, M3Model
from m3rag.evaluation import Slice, read_set
from m3rag.evaluation.metrics import measure_rankings, top
from m3rag.evaluation.slices import Splitter, cut

K = 20  # passages: more than 10 documents, though two may be of the same


def main() -> None:
    """Index a set, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--weights", default="cross-lingual")
    parser.add_argument("--candidates", type=int, nargs="+", default=[100])
    given = parser.parse_args()
    data = read_set(given.set).sample(given.every)
    spoken = {document.id: document.language for document in data.corpus}
    rows = []
    with M3Model.load(given.model) as model, M3Index.open(model=model) as index:
        splitter = Splitter(model.tokenizer)
        [one] = cut(data, pairs="pooled", level="document", splitter=splitter)
        index.add(replace(p, metadata={"lang": spoken[p.document_id]}) for p in one.passages)
        for candidates in given.candidates:
            cells = [str(candidates)]
            for balance in (None, "lang"):
                settings = {"weights": given.weights, "candidates": candidates}
                scores = searched(index, one, balance=balance, **settings)
                cells += [f"{value:.3f}" for value in measured(one, scores, spoken)]
            rows.append(cells)
    own = "of the question's language"
    print(markdown(("candidates", "nDCG@10", own, "nDCG@10, balanced", own), rows))


def searched(index: M3Index, one: Slice, **settings: object) -> np.ndarray:
    """The score of each query's best documents, `(n queries, n units)`; -inf for all others."""
    place = {unit: column for column, unit in enumerate(one.units)}
    scores = np.full((len(one.queries), len(one.units)), -np.inf, np.float32)
    found = index.search_many([query.text for query in one.queries], K, **settings)
    for row, hits in zip(scores, found, strict=True):
        for hit in reversed(hits):  # the best passage of a document is the last to be written
            row[place[hit.passage.document_id]] = hit.score
    return scores


def measured(one: Slice, scores: np.ndarray, spoken: dict[str, str]) -> tuple[float, float]:
    """nDCG@10, and the share of the top 10 in the question's language."""
    best = top(scores, 10)
    languages = np.array([spoken[unit] for unit in one.units])
    asked = np.array([query.language for query in one.queries])
    [values] = measure_rankings(one, scores, best, ["ndcg@10"]).values()
    return float(values.mean()), float((languages[best] == asked[:, None]).mean())


if __name__ == "__main__":
    main()
