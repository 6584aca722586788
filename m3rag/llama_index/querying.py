"""Run LlamaIndex's query modes as searches of an index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from m3rag.errors import InputError
from m3rag.index.diversity import mmr
from m3rag.index.hit import Hit
from m3rag.index.index import M3Index
from m3rag.index.pooling import Query
from m3rag.index.settings import SearchSettings
from m3rag.llama_index.metadata_filters import Where, all_of, where_of_query
from m3rag.scoring import Weights

_EVERY_MODE = ("min_score", "max_per_document", "offset")
_FUSION = ("fusion", "candidates", "balance", "rrf_k")
OPTIONS = ("weights", *_FUSION, *_EVERY_MODE, "mmr_threshold", "mmr_prefetch_k")

_PREFETCH = 4  # the number of candidates of mmr for each result


def hits_of(
    index: M3Index, query: VectorStoreQuery, options: Mapping[str, Any], base: Where | None = None
) -> list[Hit]:
    """Return the hits of a query, best first; in the mode mmr, in the order they are chosen.

    Args:
        index: The index to search.
        query: A query in one of the five modes of `M3VectorStore`.
        options: The options of the query; their names are in `OPTIONS`.
        base: A filter that all nodes match, besides the restrictions of the query.

    Raises:
        InputError: The mode is not supported, a text is missing, or alpha or mmr_threshold is not
            from 0 to 1.
    """
    k = query.similarity_top_k
    every: Any = {name: options[name] for name in _EVERY_MODE if name in options}
    every["filter"] = all_of(base, where_of_query(query))
    match query.mode:
        case VectorStoreQueryMode.DEFAULT:
            return _nearest(index, query, k, every)
        case VectorStoreQueryMode.MMR:
            return _diverse(index, query, options, every)
        case VectorStoreQueryMode.SPARSE:
            return index.search(_text(query), query.sparse_top_k or k, channels=["sparse"], **every)
        case VectorStoreQueryMode.TEXT_SEARCH:
            return index.search(_text(query), k, channels=["bm25"], **every)
        case VectorStoreQueryMode.HYBRID:
            fused = {name: options[name] for name in _FUSION if name in options}
            weights = _weights(query.alpha, options.get("weights", "default"))
            settings = SearchSettings(**fused, **every, weights=weights)
            return index.search(
                _pooled(index, query, settings), query.hybrid_top_k or k, settings=settings
            )
    raise InputError(
        f"M3VectorStore does not support the mode {query.mode.value!r}. Use default, sparse, "
        "text_search, hybrid or mmr."
    )


def _nearest(index: M3Index, query: VectorStoreQuery, k: int, every: Any) -> list[Hit]:
    if query.query_embedding:
        return index.search_by_vector(query.query_embedding, k, **every)
    return index.search(_text(query), k, channels=["dense"], **every)


def _pooled(index: M3Index, query: VectorStoreQuery, settings: SearchSettings) -> str | Query:
    """Return the text of a query with its embedding, if the search scores dense vectors."""
    if query.query_embedding and "dense" in index.check(1, settings=settings).plan.score:
        return Query([_text(query)], query.query_embedding)
    return _text(query)


def _diverse(
    index: M3Index, query: VectorStoreQuery, options: Mapping[str, Any], every: Any
) -> list[Hit]:
    threshold = options.get("mmr_threshold", query.mmr_threshold)
    threshold = 0.5 if threshold is None else _fraction("mmr_threshold", threshold)
    k = query.similarity_top_k
    hits = _nearest(index, query, max(k, options.get("mmr_prefetch_k") or _PREFETCH * k), every)
    stored = index.dense_vectors([hit.passage.id for hit in hits])
    kept = [(hit, v) for hit, v in zip(hits, stored, strict=True) if v is not None]
    if not kept:
        return []
    vector = query.query_embedding or index.model.encode([_text(query)]).dense[0]
    passages = np.stack([v for _, v in kept])
    chosen = mmr(passages @ np.asarray(vector, np.float32), passages, k, threshold)
    return [Hit(score, kept[row][0].passage, kept[row][0].dense) for row, score in chosen]


def _weights(alpha: float | None, weights: Weights) -> Weights:
    if alpha is None:
        return weights
    return {"dense": _fraction("alpha", alpha), "sparse": 1 - alpha}


def _fraction(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise InputError(f"`{name}` must be from 0 to 1, got {value!r}.")
    return float(value)


def _text(query: VectorStoreQuery) -> str:
    if query.query_str is None:
        raise InputError(f"A query in the mode {query.mode.value!r} needs its text, `query_str`.")
    return query.query_str
