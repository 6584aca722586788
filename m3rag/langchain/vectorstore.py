"""A LangChain vector store over an index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore, VectorStoreRetriever
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from m3rag.frameworks import IndexLike, ModelLike, check_names, own_errors
from m3rag.index.hit import Hit
from m3rag.index.settings import DEFAULTS, SearchSettings
from m3rag.langchain.collection import ADD, SOURCE, DocumentCollection, upsert
from m3rag.langchain.component import OPENING, component_index
from m3rag.langchain.documents import documents_of, to_document
from m3rag.langchain.embeddings import M3Embeddings
from m3rag.langchain.filters import Where, where_of
from m3rag.langchain.index_retriever import blank
from m3rag.langchain.relevance import relevance
from m3rag.langchain.store_arguments import (
    SETTINGS,
    check_retriever,
    model_of_embedding,
    new_colbert,
)
from m3rag.limits import shown
from m3rag.progress import Progress
from m3rag.scoring import Weights

_DENSE = {"dense": 1.0}
_OWN = ("embedding", "model", "path", "weights", "base_filter", "relevance_score_fn")


class M3VectorStore(DocumentCollection, VectorStore):
    """A LangChain vector store over an `M3Index`.

    By default it searches by dense vectors, with scores from -1 to 1; other `weights` make it a
    hybrid store. Documents are returned as they were added. A document replaces a stored one with
    the same id. A filter is a dict (see `m3rag.stores.filters`) or a function of a document, which
    is called for every stored document. An empty query finds nothing.

    Example:
        >>> store = M3VectorStore.from_texts(["Ferns like shade.", "Cacti like sun."], model="tiny")
        >>> store.similarity_search("Where do I put my fern?", k=1)[0].page_content
        'Ferns like shade.'

    Args:
        index: The index that stores the documents, or what has one: a store, a retriever, or the
            folder of an existing index. By default, `path` and `model` open or create one.
        embedding: `M3Embeddings`, whose model the store uses; or pass `model`.
        model: A model, or the name of the process's shared model. Without one, an existing folder
            gets its own, and a new index BAAI/bge-m3.
        path: The folder of the index; None for an index in memory.
        weights: The weights of `similarity_search`, as for `M3EnsembleRetriever`. A new index
            stores ColBERT vectors only if "colbert" has a weight.
        base_filter: A filter that every search, read and deletion obeys; that of a call only
            narrows it.
        relevance_score_fn: Turns a score into a relevance from 0 to 1, instead of
            `m3rag.langchain.relevance.relevance`.
        opening: The settings of `M3Index.open`: `colbert`, `context`, `analyzer`, `bm25`, `limits`
            and `create`.

    Raises:
        InputError: `index` is given together with something to open one, or a setting is not valid.
    """

    def __init__(
        self,
        index: IndexLike | None = None,
        *,
        embedding: Embeddings | None = None,
        model: ModelLike = None,
        path: object = None,
        weights: Weights = _DENSE,
        base_filter: Where = None,
        relevance_score_fn: Callable[[float], float] | None = None,
        **opening: Any,
    ) -> None:
        check_names("M3VectorStore", opening, ("index", *_OWN, *OPENING))
        new = new_colbert(weights)
        settings: Any = opening
        model = model_of_embedding(embedding, model)
        self.index, opened = component_index(
            "M3VectorStore", index, path, model, settings, new_colbert=new, needed=False
        )
        self.weights = weights
        self.base_filter = base_filter
        self.relevance_score_fn = relevance_score_fn
        try:
            where = None if callable(base_filter) else base_filter
            self.index.check(1, settings=SearchSettings(weights=weights, filter=where))
        except BaseException:
            if opened:
                self.index.close()
            raise

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[Document],
        embedding: Embeddings | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        source_id_key: str | None = SOURCE,
        progress: Progress | None = None,
        **settings: Any,
    ) -> Self:
        """Return a store with documents, in memory or in a folder that may have some already.

        Documents that the folder has are not encoded again, and passages that the new version of a
        document no longer has are deleted; see `upsert_documents`.

        Args:
            documents: The documents.
            embedding: `M3Embeddings`, whose model the store uses; or pass `model`.
            ids: Ids that replace those of the documents.
            source_id_key: See `upsert_documents`.
            progress: Called with ("adding passages", done, total).
            settings: Arguments of the constructor.
        """
        known = ("ids", "source_id_key", "progress", *_OWN, *OPENING)
        check_names("M3VectorStore.from_documents", settings, known)
        store = cls(embedding=embedding, **settings)
        try:
            upsert(store.index, documents, ids, source_id_key, progress=progress)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        embedding: Embeddings | None = None,
        metadatas: Iterable[Mapping[str, Any]] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        **settings: Any,
    ) -> Self:
        """Return a store with texts; see `from_documents`."""
        return cls.from_documents(documents_of(texts, metadatas, ids), embedding, **settings)

    @property
    def embeddings(self) -> M3Embeddings:
        """The embeddings that give the dense vectors of the store."""
        return M3Embeddings(self.index.model)

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Iterable[Mapping[str, Any]] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        **settings: Any,
    ) -> list[str]:
        """Encode and store texts; return the id of each. See `add_documents`."""
        check_names("M3VectorStore.add_texts", settings, ("texts", "metadatas", *ADD))
        return self.add_documents(documents_of(texts, metadatas, ids), **settings)

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
        """Return documents near to the query and far from each other, by dense vectors."""
        if blank(query):
            return []
        vector = self.embeddings.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(
            vector, k, fetch_k, lambda_mult, filter, **settings
        )

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Where = None,
        **settings: Any,
    ) -> list[Document]:
        """Return `k` of the nearest `fetch_k` documents, each the best by this formula.

        lambda_mult * similarity to the query
        - (1 - lambda_mult) * highest similarity to a document chosen before
        """
        hits = self._near(embedding, max(k, fetch_k), filter, settings)
        stored = self.index.dense_vectors([hit.passage.id for hit in hits])
        near = [(hit, v) for hit, v in zip(hits, stored, strict=True) if v is not None]
        query = np.asarray(embedding, np.float32)
        chosen = maximal_marginal_relevance(query, [v.tolist() for _, v in near], lambda_mult, k)
        return [to_document(near[i][0].passage) for i in chosen]

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
        return self.index.search(query, k, settings=search)

    def _near(
        self, vector: Sequence[float], k: int, where: Where, settings: dict[str, Any]
    ) -> list[Hit]:
        check_names("A search by vector", settings, ("k", "filter"))
        return self.index.search_by_vector(
            vector, k, filter=where_of(self.index, self.base_filter, where)
        )

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

    def __repr__(self) -> str:
        base = f", base_filter={shown(self.base_filter, 80)}" if self.base_filter else ""
        return f"M3VectorStore({self.index!r}, weights={shown(self.weights)}{base})"
