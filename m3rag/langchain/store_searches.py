"""The searches of the vector store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore, VectorStoreRetriever

from m3rag.frameworks import check_names, own_errors
from m3rag.index.hit import Hit
from m3rag.index.index import M3Index
from m3rag.index.pooling import Query
from m3rag.index.settings import DEFAULTS, SETTINGS, SearchSettings
from m3rag.langchain.collection import DocumentCollection
from m3rag.langchain.documents import to_document
from m3rag.langchain.filters import Where, where_of
from m3rag.langchain.index_retriever import blank
from m3rag.langchain.relevance import relevance
from m3rag.langchain.store_arguments import BY_VECTOR, check_retriever
from m3rag.scoring import Weights


class StoreSearches(DocumentCollection, VectorStore):
    """The searches of `M3VectorStore`, over an index with some settings."""

    index: M3Index
    embedding: Embeddings | None  # for the dense vector of a query, instead of the model
    weights: Weights
    base_filter: Where
    relevance_score_fn: Callable[[float], float] | None

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents with these ids, in order, without those that do not exist."""
        found = [passage for passage in self.index.get(list(ids)) if passage is not None]
        if self.base_filter is None:
            return [to_document(passage) for passage in found]
        where = where_of(self.index, self.base_filter, {"$id": [p.id for p in found]})
        allowed = {passage.id for passage in self.index.passages(where)}
        return [to_document(passage) for passage in found if passage.id in allowed]

    def similarity_search(
        self, query: str, k: int = 4, filter: Where = None, **settings: Any
    ) -> list[Document]:
        """Return the best documents; `settings` are fields of `SearchSettings`."""
        found = self.similarity_search_with_score(query, k, filter, **settings)
        return [document for document, _ in found]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Where = None, **settings: Any
    ) -> list[tuple[Document, float]]:
        """Return the best documents with their scores; higher is better."""
        return [(to_document(h.passage), h.score) for h in self._hits(query, k, filter, settings)]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: Where = None, **settings: Any
    ) -> list[Document]:
        """Return the documents whose dense vectors are nearest to `embedding`."""
        found = self.similarity_search_with_score_by_vector(embedding, k, filter, **settings)
        return [document for document, _ in found]

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, filter: Where = None, **settings: Any
    ) -> list[tuple[Document, float]]:
        """Return the documents whose dense vectors are nearest to `embedding`, with the cosines."""
        hits = self._near(embedding, k, filter, settings)
        return [(to_document(hit.passage), hit.score) for hit in hits]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Where = None,
        **settings: Any,
    ) -> list[Document]:
        """Return documents with high scores and far from each other, by their dense vectors.

        Each of `k` documents, out of the best `fetch_k`, is the best by this formula when it is
        chosen. The scores of a hybrid search are scaled to 0 to 1 for it.

            lambda_mult * score
            - (1 - lambda_mult) * highest similarity to a document chosen before
        """
        found = self.max_marginal_relevance_search_with_score(
            query, k, fetch_k, lambda_mult, filter, **settings
        )
        return [document for document, _ in found]

    def max_marginal_relevance_search_with_score(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Where = None,
        **settings: Any,
    ) -> list[tuple[Document, float]]:
        """Run `max_marginal_relevance_search`; return documents with the scores of the search."""
        hits = self._hits(query, max(k, fetch_k), filter, settings)
        return self._diverse(hits, k, lambda_mult)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Where = None,
        **settings: Any,
    ) -> list[Document]:
        """Return documents near to a vector and far from each other."""
        hits = self._near(embedding, max(k, fetch_k), filter, settings)
        return [document for document, _ in self._diverse(hits, k, lambda_mult)]

    def similarity_search_with_vectors(
        self, query: str, k: int = 4, filter: Where = None, **settings: Any
    ) -> list[tuple[Document, list[float]]]:
        """Return the best documents with their stored dense vectors."""
        hits = self._hits(query, k, filter, settings)
        stored = self.index.dense_vectors([hit.passage.id for hit in hits])
        pairs = zip(hits, stored, strict=True)
        return [(to_document(hit.passage), v.tolist()) for hit, v in pairs if v is not None]

    def as_retriever(self, **settings: Any) -> VectorStoreRetriever:
        """Return LangChain's retriever over the store.

        Args:
            settings: `search_type`, `search_kwargs`, `tags`, `metadata` and `name`, as for every
                vector store of LangChain.

        Raises:
            ArgumentError: An argument, or a key of `search_kwargs`, does not exist.
            InputError: An argument has a value that it cannot have.
        """
        check_retriever(settings)
        with own_errors("M3VectorStore.as_retriever"):
            return super().as_retriever(**settings)

    def _hits(self, query: str, k: int, where: Where, settings: dict[str, Any]) -> list[Hit]:
        """Return the hits of a query; none for an empty one."""
        search = self._settings(settings, where)
        if blank(query):
            return []
        asked: str | Query = query
        if self.embedding is not None:
            asked = Query([query], dense=self.embedding.embed_query(query))
        return self.index.search(asked, k, settings=search)

    def _diverse(self, hits: list[Hit], k: int, lambda_mult: float) -> list[tuple[Document, float]]:
        chosen = self.index.diversify(hits, k, relevance=lambda_mult)
        return [(to_document(hit.passage), hit.score) for hit in chosen]

    def _near(
        self, vector: Sequence[float], k: int, where: Where, settings: dict[str, Any]
    ) -> list[Hit]:
        check_names("A search by vector", settings, ("k", "filter", *BY_VECTOR))
        narrow = where_of(self.index, self.base_filter, where)
        return self.index.search_by_vector(vector, k, filter=narrow, **settings)

    def _settings(self, settings: dict[str, Any], where: Where) -> SearchSettings:
        check_names("A search of M3VectorStore", settings, ("k", *SETTINGS))
        options: Any = {"weights": self.weights, **settings}
        narrow = where_of(self.index, self.base_filter, where)
        return DEFAULTS.changed(**options).changed(filter=narrow)

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **settings: Any
    ) -> list[tuple[Document, float]]:
        where = settings.pop("filter", None)
        hits = self._hits(query, k, where, settings)
        score = self.relevance_score_fn or self._relevance(settings)
        return [(to_document(hit.passage), score(hit.score)) for hit in hits]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return self.relevance_score_fn or self._relevance({})

    def _relevance(self, settings: dict[str, Any]) -> Callable[[float], float]:
        """Return the function from a score to a relevance for a search with some settings."""
        search = self._settings(settings, None)
        plan = self.index.check(1, settings=search.changed(filter=None)).plan
        preset = self.index.presets.get(search.weights) if isinstance(search.weights, str) else None
        calibrated = preset.min_score if preset is not None else None
        return lambda score: relevance(score, plan, calibrated)
