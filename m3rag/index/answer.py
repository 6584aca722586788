"""From a question and its views to hits: candidates from the store, fused once, here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m3rag.index.hit import Hit
from m3rag.index.plan import Candidates, Store
from m3rag.index.question import Question, plans, rank
from m3rag.index.views import Model
from m3rag.model import Encoding, SparseVectors
from m3rag.scoring import colbert_scores, matched_tokens

_COLBERT = frozenset({"colbert"})


def answer(
    question: Question,
    views: Encoding | None,
    bm25: SparseVectors | None,
    *,
    store: Store,
    model: Model,
    on_demand: bool,
) -> list[list[Hit]]:
    """The hits of each text of the question, best first.

    Args:
        question: what is asked.
        views: of its texts, as far as the recipe needs them.
        bm25: token frequencies of its texts, if the recipe needs them.
        store: what is asked.
        model: encodes candidates on demand.
        on_demand: whether it has to.
    """
    computed = _COLBERT if on_demand else frozenset()
    asked = plans(question, views, bm25, computed)
    found = store.search(asked)
    if on_demand and "colbert" in question.recipe.scored and views is not None:
        found = [_with_colbert(c, views.colbert[i], store, model) for i, c in enumerate(found)]
    ranked = [rank(candidates, question.recipe, question.k) for candidates in found]
    wanted = {c.ids[i] for c, (best, _) in zip(found, ranked, strict=True) for i in best}
    ids = list(wanted)
    passages = dict(zip(ids, store.get(ids), strict=True))
    sparse = "sparse" in question.recipe.scored
    terms = dict(zip(ids, store.term_weights(ids), strict=True)) if sparse else {}
    results = []
    for plan, candidates, (best, fused) in zip(asked, found, ranked, strict=True):
        hits = []
        for i in best.tolist():
            passage = passages[candidates.ids[i]]
            if passage is None:  # deleted since the store was asked
                continue
            matched = matched_tokens(plan.sparse or {}, terms[passage.id]) if sparse else []
            scores = {c: float(column[i]) for c, column in candidates.scores.items()}
            hits.append(Hit(float(fused[i]), passage, **scores, matched=tuple(matched)))
        results.append(hits)
    return results


def _with_colbert(
    candidates: Candidates, query: np.typing.NDArray[np.floating], store: Store, model: Model
) -> Candidates:
    """The candidates that still exist, with the ColBERT scores of their freshly encoded texts."""
    passages = store.get(candidates.ids)
    kept = [i for i, passage in enumerate(passages) if passage is not None]
    texts = [passage.text for passage in passages if passage is not None]
    scores = {channel: column[kept] for channel, column in candidates.scores.items()}
    vectors = model.encode(texts, dense=False, sparse=False).colbert if texts else None
    empty = np.zeros(0, np.float32)
    scores["colbert"] = empty if vectors is None else colbert_scores(query, vectors)
    return Candidates(_take(candidates.ids, kept), scores)


def _take(ids: Sequence[str], positions: Sequence[int]) -> list[str]:
    return [ids[i] for i in positions]
