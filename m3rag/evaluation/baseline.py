"""The baseline of every table: BM25 by rank-bm25, over the model's own tokens.

An index scores bm25 with Lucene's idf, which differs: see `m3rag.scoring.bm25`.
"""

from __future__ import annotations

import numpy as np

from m3rag.evaluation.slices import Slice
from m3rag.model import M3Model
from m3rag.scoring.fusion import Floats


def bm25_scores(model: M3Model, one: Slice) -> Floats:
    """Okapi BM25, `(n queries, n passages)`; 0 where nothing is shared."""
    from rank_bm25 import BM25Okapi

    tokens = model.token_ids([passage.text for passage in one.passages])
    scores = np.zeros((len(one.queries), len(one.passages)), np.float32)
    if not any(tokens):
        return scores
    bm25 = BM25Okapi(tokens)
    for row, query in enumerate(model.token_ids([query.text for query in one.queries])):
        known = [token for token in query if token in bm25.idf]  # the others add nothing
        if known:
            scores[row] = bm25.get_scores(known)
    return scores
