"""Measure what `M3Index.search(..., balance="lang")` gains on a corpus in several languages.

    python benchmarks/balance.py SET [--model tiny] [--every 8] [--candidates 100 300]

Puts a set in BEIR format into one index, all languages together, and runs its queries with and
without balancing. Prints a Markdown table with one row for each number of candidates: nDCG@10, and
the share of the top 10 that is in the query's language.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from tuning import markdown

from m3rag import M3Index, M3Model
from m3rag.evaluation import Slice, read_set
from m3rag.evaluation.metrics import measure_rankings, top
from m3rag.evaluation.slices import Splitter, cut
from m3rag.index.settings import SearchSettings

K = 20  # passages; enough for 10 documents, as several passages can come from one document


def main() -> None:
    """Index the set and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("set", help="folder of a set in BEIR format")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--every", type=int, default=1, help="use only every N-th question")
    parser.add_argument("--weights", default="cross-lingual")
    parser.add_argument("--candidates", type=int, nargs="+", default=[100])
    args = parser.parse_args()
    data = read_set(args.set).sample(args.every)
    languages = {document.id: document.language for document in data.corpus}
    rows = []
    with M3Model.load(args.model) as model, M3Index.open(model=model) as index:
        splitter = Splitter(model.tokenizer, model.passage_tokens)
        [corpus] = cut(data, pairs="pooled", level="document", splitter=splitter)
        index.add(
            replace(passage, metadata={"lang": languages[passage.document_id or ""]})
            for passage in corpus.passages
        )
        for candidates in args.candidates:
            cells = [str(candidates)]
            for balance in (None, "lang"):
                settings = SearchSettings(
                    weights=args.weights, candidates=candidates, balance=balance
                )
                scores = document_scores(index, corpus, settings)
                cells += [f"{value:.3f}" for value in quality(corpus, scores, languages)]
            rows.append(cells)
    share = "in the query's language"
    print(markdown(("candidates", "nDCG@10", share, "nDCG@10, balanced", share), rows))


def document_scores(index: M3Index, corpus: Slice, settings: SearchSettings) -> NDArray[np.float32]:
    """Return the scores of each query's best documents, `(n queries, n units)`; else -inf."""
    columns = {unit: column for column, unit in enumerate(corpus.units)}
    scores = np.full((len(corpus.queries), len(corpus.units)), -np.inf, np.float32)
    results = index.search_many([query.text for query in corpus.queries], K, settings=settings)
    for row, hits in zip(scores, results, strict=True):
        for hit in reversed(hits):  # so that the best passage of a document is written last
            row[columns[hit.passage.document_id or ""]] = hit.score
    return scores


def quality(
    corpus: Slice, scores: NDArray[np.float32], languages: Mapping[str, str]
) -> tuple[float, float]:
    """Return nDCG@10, and the share of the top 10 in the query's language."""
    best = top(scores, 10)
    of_units = np.array([languages[unit] for unit in corpus.units])
    of_queries = np.array([query.language for query in corpus.queries])
    [values] = measure_rankings(corpus, scores, best, ["ndcg@10"]).values()
    return float(values.mean()), float((of_units[best] == of_queries[:, None]).mean())


if __name__ == "__main__":
    main()
