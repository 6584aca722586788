"""From a question and its views to hits: candidates from the store, fused once, here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from m3rag.documents import Passage
from m3rag.index.hit import Hit, Origin
from m3rag.index.plan import Candidates, Store
from m3rag.index.question import Question, balance, plans, rank
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
    return [
        _hits(question, text, plan.sparse, candidates, store, model)
        for text, plan, candidates in zip(question.texts, asked, found, strict=True)
    ]


def _hits(
    question: Question,
    text: str,
    weights: Mapping[int, float] | None,
    found: Candidates,
    store: Store,
    model: Model,
) -> list[Hit]:
    """The best k candidates that still exist: another thread may have deleted some meanwhile."""
    counted = found
    if question.balance is not None:
        counted = balance(found, question.recipe, store.get(found.ids), question.balance)
    order, fused = rank(counted, question.recipe)
    best: list[tuple[int, Passage]] = []
    for start in range(0, len(order), question.k):
        some = order[start : start + question.k]
        passages = store.get([found.ids[i] for i in some])
        best += [(i, p) for i, p in zip(some, passages, strict=True) if p is not None]
        if len(best) >= question.k:
            break
    del best[question.k :]
    stored = (
        store.term_weights([p.id for _, p in best]) if weights is not None else [{}] * len(best)
    )
    return [
        Hit(
            score=float(fused[i]),
            passage=passage,
            **{channel: float(column[i]) for channel, column in found.scores.items()},
            matched=tuple(matched_tokens(weights or {}, terms)),
            _origin=Origin(model, text, question.recipe, counted.scores, i),
        )
        for (i, passage), terms in zip(best, stored, strict=True)
    ]


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
