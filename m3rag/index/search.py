"""Run a search: retrieve candidates from the store, fuse their scores and return hits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from m3rag.encoder import Model
from m3rag.encoding import Encoding, SparseVectors
from m3rag.errors import InputError
from m3rag.explanation import Explanation, channel_shares, explain_fused
from m3rag.index.hit import Hit
from m3rag.index.pooling import Query
from m3rag.index.query import ScoringPlan, SearchRequest
from m3rag.index.ranking import balance_candidates, chosen, rank
from m3rag.limits import shown
from m3rag.scoring import colbert_scores, matched_tokens
from m3rag.stores.base import Candidates, Floats, QueryPlan, Store

_NUMBERS = (int, float, np.number)
_LARGEST = 1e15  # of a vector's numbers: float32 sums of the squares of larger ones overflow


def run_search(
    request: SearchRequest,
    encoding: Encoding | None,
    bm25: SparseVectors | None,
    *,
    store: Store,
    model: Model,
    on_demand: bool,
) -> list[list[Hit]]:
    """Return the hits of each query, best first.

    Args:
        request: The queries and how to search.
        encoding: The queries' views; None if no channel needs them.
        bm25: The token frequencies of the queries; None if bm25 is not scored.
        store: Retrieves and scores the candidates.
        model: Encodes the candidates if ColBERT vectors are computed on demand.
        on_demand: Whether ColBERT vectors are computed on demand.
    """
    plans = query_plans(request, encoding, bm25, skip={"colbert"} if on_demand else set())
    found = store.search(plans)
    if on_demand and "colbert" in request.plan.score and encoding is not None:
        found = [_with_colbert(c, encoding.colbert[i], store, model) for i, c in enumerate(found)]
    return [
        _hits(request, query, plan.sparse, candidates, store, model)
        for query, plan, candidates in zip(request.queries, plans, found, strict=True)
    ]


def query_plans(
    request: SearchRequest, encoding: Encoding | None, bm25: SparseVectors | None, skip: set[str]
) -> list[QueryPlan]:
    """Return a plan for each query; the store does not score the channels in `skip`."""
    score = tuple(c for c in request.plan.score if c not in skip)
    plans = []
    for i in range(len(request.queries)):
        plan = QueryPlan(
            retrieve=request.plan.retrieve,
            score=score,
            candidates=request.candidates,
            where=request.where,
            bm25=None if bm25 is None else bm25[i],
        )
        if encoding is not None:
            plan = replace(
                plan,
                dense=encoding.dense[i] if "dense" in score else None,
                sparse=encoding.sparse[i] if "sparse" in score else None,
                colbert=_float32(encoding.colbert[i]) if "colbert" in score else None,
            )
        plans.append(plan)
    return plans


def query_vector(vector: Sequence[float] | NDArray[np.floating], model: Model) -> Floats:
    """Return a dense vector `(dim,)` in float32.

    Raises:
        InputError: The vector does not have `model.dim` finite numbers, or they are so large that
            scores would not be finite.
    """
    dense = _finite_floats(vector, model.dim)
    if dense is None:
        found = shown(vector)
        if isinstance(vector, np.ndarray):
            found = f"shape {vector.shape} of {vector.dtype}: {found}"
        elif isinstance(vector, list | tuple):
            found = f"shape ({len(vector)},): {found}"
        raise InputError(
            f"`vector` must be {model.dim} finite numbers, like the vectors of the model "
            f"{model.name!r}, each at most {_LARGEST:g}, got {found}."
        )
    return dense


def vector_encoding(vector: Floats) -> Encoding:
    """Return a dense vector `(dim,)` as the encoding of one query."""
    return Encoding(
        n_tokens=np.zeros(1, np.int32), truncated=np.zeros(1, np.bool_), dense=vector[None]
    )


class _Explainer:
    """Explains one hit of a search.

    Not a dataclass, because `dataclasses.asdict` of a hit would descend into the model. When a hit
    is deep-copied or pickled, its explainer becomes None, so that the model stays in its process.
    """

    __slots__ = ("model", "plan", "query", "row", "scores")

    def __init__(
        self, model: Model, query: str, plan: ScoringPlan, scores: Mapping[str, Floats], row: int
    ) -> None:
        self.model = model
        self.query = query
        self.plan = plan
        self.scores = scores  # (n,) by channel, of all candidates; balanced in a balanced search
        self.row = row  # the position of the hit among the candidates

    def __call__(self, hit: Hit) -> Explanation:
        rrf_k = self.plan.rrf_k if self.plan.fusion == "rrf" else None
        shares = channel_shares(self.scores, self.plan.weights, self.row, rrf_k=rrf_k)
        # A balanced search balances the shares; the score of a channel is always the hit's own.
        channels = tuple(replace(share, score=getattr(hit, share.name)) for share in shares)
        return explain_fused(
            self.model, self.query, hit.passage, hit.score, self.plan.fusion, channels
        )

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()


def _explainer(
    model: Model, query: Query, plan: ScoringPlan, scores: Mapping[str, Floats], row: int
) -> _Explainer | None:
    """Return what explains a hit; a query of several texts has no tokens to explain it by."""
    return _Explainer(model, query.texts[0], plan, scores, row) if query.plain else None


def _hits(
    request: SearchRequest,
    query: Query,
    weights: Mapping[int, float] | None,
    found: Candidates,
    store: Store,
    model: Model,
) -> list[Hit]:
    """Return the best k candidates, without those that another thread deleted meanwhile."""
    counted = found
    if request.balance is not None:
        counted = balance_candidates(found, request.plan, store.get(found.ids), request.balance)
    order, fused = rank(counted, request.plan)
    best = chosen(found, order, fused, request, store)
    stored = (
        store.term_weights([p.id for _, p in best]) if weights is not None else [{}] * len(best)
    )
    return [
        Hit(
            score=float(fused[i]),
            passage=passage,
            **{channel: float(column[i]) for channel, column in found.scores.items()},
            matched=tuple(matched_tokens(weights or {}, terms)),
            _explain=_explainer(model, query, request.plan, counted.scores, i),
        )
        for (i, passage), terms in zip(best, stored, strict=True)
    ]


def _with_colbert(
    candidates: Candidates, query: NDArray[np.floating], store: Store, model: Model
) -> Candidates:
    """Return the candidates that still exist, with ColBERT scores computed from their texts."""
    passages = store.get(candidates.ids)
    kept = [i for i, passage in enumerate(passages) if passage is not None]
    texts = [passage.full_text for passage in passages if passage is not None]
    scores = {channel: column[kept] for channel, column in candidates.scores.items()}
    vectors = model.encode(texts, dense=False, sparse=False).colbert if texts else None
    empty = np.zeros(0, np.float32)
    scores["colbert"] = empty if vectors is None else colbert_scores(query, vectors)
    return Candidates([candidates.ids[i] for i in kept], scores)


def _finite_floats(vector: object, dim: int) -> Floats | None:
    """Return a vector as float32 `(dim,)`; None if it is not one or too large."""
    try:
        if isinstance(vector, str | bytes) or not isinstance(vector, Sized) or len(vector) != dim:
            return None
        # Not lists of lists, in which numpy looks for dimensions, however long that takes.
        if isinstance(vector, Sequence) and not all(isinstance(x, _NUMBERS) for x in vector):
            return None
        numbers = np.asarray(vector)
    except Exception:  # the code of another library's array, or rows of different lengths
        return None
    if numbers.shape != (dim,) or numbers.dtype.kind not in "fiu":
        return None
    exact = numbers.astype(np.float64)
    return exact.astype(np.float32) if (np.abs(exact) <= _LARGEST).all() else None


def _float32(vectors: NDArray[np.floating]) -> Floats:
    return np.ascontiguousarray(vectors, np.float32)
