"""LlamaIndex's query modes, as searches of an index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from numpy.typing import NDArray

from m3rag.errors import InputError
from m3rag.index import Hit, M3Index
from m3rag.llama_index.metadata_filters import where_of_query
from m3rag.scoring import Weights

OPTIONS = ("weights", "fusion", "candidates", "mmr_threshold", "mmr_prefetch_k")

_PREFETCH = 4  # times as many candidates as results, for mmr


def hits_of(index: M3Index, query: VectorStoreQuery, options: Mapping[str, Any]) -> list[Hit]:
    """The hits of a query, best first; in the mode mmr, in the order of choice.

    Args:
        index: what is searched.
        query: any of the five modes in `M3VectorStore`'s docstring.
        options: of `OPTIONS`.

    Raises:
        InputError: another mode, no text where one is needed, an alpha or mmr_threshold outside
            0 to 1.
    """
    where, k = where_of_query(query), query.similarity_top_k
    match query.mode:
        case VectorStoreQueryMode.DEFAULT:
            return _nearest(index, query, k)
        case VectorStoreQueryMode.MMR:
            return _diverse(index, query, options)
        case VectorStoreQueryMode.SPARSE:
            k = query.sparse_top_k or k
            return index.search(_text(query), k, channels=["sparse"], filter=where)
        case VectorStoreQueryMode.TEXT_SEARCH:
            return index.search(_text(query), k, channels=["bm25"], filter=where)
        case VectorStoreQueryMode.HYBRID:
            return index.search(
                _text(query),
                query.hybrid_top_k or k,
                weights=_weights(query.alpha, options.get("weights", "default")),
                fusion=options.get("fusion", "weighted"),
                candidates=options.get("candidates"),
                filter=where,
            )
    raise InputError(
        f"M3VectorStore has no mode {query.mode.value!r}; it has default, sparse, text_search, "
        "hybrid and mmr."
    )


def mmr(
    query: NDArray[np.float32], passages: NDArray[np.float32], k: int, threshold: float
) -> list[tuple[int, float]]:
    """Maximal marginal relevance: rows of `passages`, the next best one first, and their scores.

        score(p) = threshold * <q, p> - (1 - threshold) * max over the chosen c of <c, p>

    Source: Carbonell and Goldstein, SIGIR 1998.

    Args:
        query: `(d,)`, unit length.
        passages: `(n, d)`, unit length.
        k: how many to choose, at most.
        threshold: 1 looks at the query alone, 0 at what has been chosen alone.
    """
    relevance = threshold * (passages @ query)
    nearest = np.zeros(len(passages), np.float32)  # nothing is chosen yet
    left = np.ones(len(passages), bool)
    chosen: list[tuple[int, float]] = []
    for _ in range(min(k, len(passages))):
        scores = np.where(left, relevance - (1 - threshold) * nearest, -np.inf)
        best = int(scores.argmax())
        overlap = passages @ passages[best]
        nearest = np.maximum(nearest, overlap) if chosen else overlap
        chosen.append((best, float(scores[best])))
        left[best] = False
    return chosen


def _nearest(index: M3Index, query: VectorStoreQuery, k: int) -> list[Hit]:
    where = where_of_query(query)
    if query.query_embedding:
        return index.search_by_vector(query.query_embedding, k, filter=where)
    return index.search(_text(query), k, channels=["dense"], filter=where)


def _diverse(index: M3Index, query: VectorStoreQuery, options: Mapping[str, Any]) -> list[Hit]:
    threshold = options.get("mmr_threshold", query.mmr_threshold)
    threshold = 0.5 if threshold is None else _share("mmr_threshold", threshold)
    k = query.similarity_top_k
    hits = _nearest(index, query, max(k, options.get("mmr_prefetch_k") or _PREFETCH * k))
    stored = index.dense_vectors([hit.passage.id for hit in hits])
    kept = [(hit, v) for hit, v in zip(hits, stored, strict=True) if v is not None]
    if not kept:
        return []
    vector = query.query_embedding or index.model.encode([_text(query)]).dense[0]
    chosen = mmr(np.asarray(vector, np.float32), np.stack([v for _, v in kept]), k, threshold)
    return [Hit(score, kept[row][0].passage, kept[row][0].dense) for row, score in chosen]


def _weights(alpha: float | None, weights: Weights) -> Weights:
    if alpha is None:
        return weights
    return {"dense": _share("alpha", alpha), "sparse": 1 - alpha}


def _share(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise InputError(f"{name} must be 0 to 1, got {value!r}.")
    return float(value)


def _text(query: VectorStoreQuery) -> str:
    if query.query_str is None:
        raise InputError(f"A query in the mode {query.mode.value!r} needs query_str, its text.")
    return query.query_str
