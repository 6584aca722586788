"""Search an index for a query bundle of LlamaIndex."""

from __future__ import annotations

from llama_index.core.schema import QueryBundle

from m3rag.index.hit import Hit
from m3rag.index.index import M3Index
from m3rag.index.pooling import Query
from m3rag.index.settings import SearchSettings
from m3rag.threads import in_thread


def search(index: M3Index, bundle: QueryBundle, k: int, settings: SearchSettings) -> list[Hit]:
    """Return the hits of a bundle; none if it is empty.

    `custom_embedding_strs`, as HyDE sets them, are searched for as one query in all channels.
    `embedding` replaces their dense vector in a search that scores dense. An embedding of another
    width belongs to a retriever with another model that got the same bundle; it is ignored.
    """
    query = _query(index, bundle, settings)
    if query is None:
        return _by_vector(index, bundle, k, settings)
    return index.search(query, k, settings=settings)


async def asearch(
    index: M3Index, bundle: QueryBundle, k: int, settings: SearchSettings
) -> list[Hit]:
    """Run `search` without blocking the event loop."""
    query = _query(index, bundle, settings)
    if query is None:
        return await in_thread(_by_vector, index, bundle, k, settings)
    return await index.asearch(query, k, settings=settings)


def _query(index: M3Index, bundle: QueryBundle, settings: SearchSettings) -> str | Query | None:
    texts = [text for text in bundle.embedding_strs if text.strip()]
    if not texts:
        return None
    if _heard(index, bundle, settings):
        return Query(texts, bundle.embedding)
    return texts[0] if len(texts) == 1 else Query(texts)


def _by_vector(index: M3Index, bundle: QueryBundle, k: int, settings: SearchSettings) -> list[Hit]:
    """Return the hits of a bundle without a text, by its embedding alone."""
    if not _heard(index, bundle, settings) or bundle.embedding is None:
        return []
    return index.search_by_vector(
        bundle.embedding,
        k,
        filter=settings.filter,
        candidates=settings.candidates,
        offset=settings.offset,
        max_per_document=settings.max_per_document,
        min_score=settings.min_score,
    )


def _heard(index: M3Index, bundle: QueryBundle, settings: SearchSettings) -> bool:
    """Return whether a search hears the embedding of a bundle."""
    if not bundle.embedding or len(bundle.embedding) != index.model.dim:
        return False
    return "dense" in index.check(1, settings=settings).plan.score
