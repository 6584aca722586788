"""A LangChain vector store over an index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from m3rag.encoder import Model
from m3rag.errors import InputError
from m3rag.index import M3Index
from m3rag.langchain.documents import documents_of, to_document, to_passage
from m3rag.langchain.embeddings import M3Embeddings
from m3rag.model.shared import model_of
from m3rag.scoring import Weights

Where = Mapping[str, Any] | Callable[[Document], bool] | None

_DENSE = {"dense": 1.0}


class M3VectorStore(VectorStore):
    """A LangChain vector store over an `M3Index`.

    By default it searches by dense vectors, with scores from -1 to 1; other `weights` make it a
    hybrid store. Documents are returned as they were added. A document replaces a stored one with
    the same id. A filter is a dict (see `m3rag.stores.filters`) or a function of a document, which
    is called for every stored document.

    Example:
        >>> store = M3VectorStore.from_texts(["Ferns like shade.", "Cacti like sun."], model="tiny")
        >>> store.similarity_search("Where do I put my fern?", k=1)[0].page_content
        'Ferns like shade.'

    Args:
        index: The index that stores the documents; by default `path` and `model` open one.
        model: A model, or the name of the process's shared model; BAAI/bge-m3 by default.
        path: The folder of the index; None for an index in memory.
        weights: The weights of `similarity_search`, as for `M3EnsembleRetriever`.

    Raises:
        InputError: `index` is given together with `model` or `path`.
    """

    def __init__(
        self,
        index: M3Index | None = None,
        *,
        model: Model | str | Path | None = None,
        path: str | Path | None = None,
        weights: Weights = _DENSE,
    ) -> None:
        if index is not None and (model is not None or path is not None):
            raise InputError(
                "`index` already has a model and a path. Leave `model` and `path` out."
            )
        self.index = M3Index.open(path, model=model_of(model)) if index is None else index
        self.weights = weights

    @classmethod
    def from_documents(
        cls,
        documents: list[Document],
        embedding: Embeddings | None = None,
        *,
        ids: list[str] | None = None,
        **settings: Any,
    ) -> Self:
        """Return a store with documents; `settings` are arguments of the constructor."""
        store = cls(**_settings(embedding, settings))
        store.add_documents(documents, ids=ids)
        return store

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **settings: Any,
    ) -> Self:
        """Return a store with texts; `settings` are arguments of the constructor."""
        return cls.from_documents(documents_of(texts, metadatas, ids), embedding, **settings)

    @property
    def embeddings(self) -> M3Embeddings:
        """The embeddings that give the dense vectors of the store."""
        return M3Embeddings(self.index.model)

    def add_documents(
        self,
        documents: Sequence[Document],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        **settings: Any,
    ) -> list[str]:
        """Encode and store documents; return the id of each.

        Args:
            documents: The documents; one without an id gets an id derived from its text and
                metadata.
            ids: Ids that replace those of the documents.
            batch_size: Ignored. LangChain's indexing API passes it, but the model packs texts into
                forward passes by their tokens.
            settings: Arguments of `M3Index.add`.

        Raises:
            InputError: Metadata is not JSON, or the number of ids is not the number of documents.
        """
        if ids is not None and len(ids) != len(documents):
            raise InputError(
                f"Got {len(documents)} documents and {len(ids)} ids. Pass one for each document."
            )
        names = ids or [None] * len(documents)
        return self.index.add(map(to_passage, documents, names), **settings)

    def delete(
        self,
        ids: list[str] | None = None,
        *,
        filter: Where = None,
        **kwargs: Any,
    ) -> bool:
        """Delete documents by ids or filter, or all without either; unknown ids are ignored."""
        if ids is None and filter is None:
            ids = [passage.id for passage in self.index.passages()]
        self.index.delete(ids, filter=self._where(filter), **kwargs)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents with these ids, in order, without those that do not exist."""
        return [to_document(p) for p in self.index.get(list(ids)) if p is not None]

    def similarity_search(
        self,
        query: str,
        k: int = 4,
        *,
        filter: Where = None,
        **settings: Any,
    ) -> list[Document]:
        """Return the best documents; `settings` are arguments of `M3Index.search`."""
        found = self.similarity_search_with_score(query, k, filter=filter, **settings)
        return [document for document, _ in found]

    def similarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        *,
        filter: Where = None,
        **settings: Any,
    ) -> list[tuple[Document, float]]:
        """Return the best documents with their scores; higher is better."""
        settings = {"weights": self.weights, **settings}
        hits = self.index.search(query, k, filter=self._where(filter), **settings)
        return [(to_document(hit.passage), hit.score) for hit in hits]

    def similarity_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        *,
        filter: Where = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return the documents whose dense vectors are nearest to `embedding`."""
        hits = self.index.search_by_vector(embedding, k, filter=self._where(filter), **kwargs)
        return [to_document(hit.passage) for hit in hits]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Return documents near to the query and far from each other, by dense vectors."""
        vector = self.embeddings.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(
            vector, k, fetch_k, lambda_mult, **kwargs
        )

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Where = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return `k` of the nearest `fetch_k` documents, each the best by this formula.

        lambda_mult * similarity to the query
        - (1 - lambda_mult) * highest similarity to a document chosen before
        """
        where = self._where(filter)
        hits = self.index.search_by_vector(embedding, max(k, fetch_k), filter=where, **kwargs)
        stored = self.index.dense_vectors([hit.passage.id for hit in hits])
        near = [(hit, v) for hit, v in zip(hits, stored, strict=True) if v is not None]
        query = np.asarray(embedding, np.float32)
        chosen = maximal_marginal_relevance(query, [v.tolist() for _, v in near], lambda_mult, k)
        return [to_document(near[i][0].passage) for i in chosen]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """Return a function that maps scores to 0 to 1: `(1 + score) / 2`, clipped."""
        # Sparse and BM25 scores have no upper limit.
        return lambda score: min(1.0, max(0.0, (1.0 + score) / 2.0))

    def _where(self, where: Where) -> Mapping[str, Any] | None:
        """Return a filter for the index; a function becomes the ids of documents that pass it."""
        if not callable(where):
            return where
        return {"id": [p.id for p in self.index.passages() if where(to_document(p))]}


def _settings(embedding: Embeddings | None, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the constructor, with the model of the embeddings."""
    if embedding is None:
        return settings
    if not isinstance(embedding, M3Embeddings):
        raise InputError(
            "M3VectorStore encodes with an M3 model. Pass M3Embeddings(model) or model=…, not "
            f"{type(embedding).__name__}."
        )
    return {"model": embedding.model, **settings}
