"""An index as a LangChain vector store."""

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
    """A vector store over an `M3Index`; the same id replaces.

    Searches by dense vectors like any other, with scores from -1 to 1; other `weights` make it
    a hybrid store. Documents come back as they were added. A filter is a dict (see
    `m3rag.stores.filters`) or a function of a document, which is called for all of them.

    Example:
        >>> store = M3VectorStore.from_texts(["Ferns like shade.", "Cacti like sun."], model="tiny")
        >>> store.similarity_search("Where do I put my fern?", k=1)[0].page_content
        'Ferns like shade.'

    Args:
        index: What holds the documents; a new one by default.
        model: What encodes in a new index, or its name; the process's shared BAAI/bge-m3 by
            default.
        path: A folder to keep a new index in; without it, it is gone with the store.
        weights: What `similarity_search` counts, as for `M3EnsembleRetriever`.
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
                "An index has its model and its place: pass it without model and path."
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
        """A store with these documents; `settings` are the constructor's."""
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
        """A store with these texts; `settings` are the constructor's."""
        return cls.from_documents(documents_of(texts, metadatas, ids), embedding, **settings)

    @property
    def embeddings(self) -> M3Embeddings:
        """What its dense vectors are made with."""
        return M3Embeddings(self.index.model)

    def add_documents(
        self,
        documents: Sequence[Document],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        **settings: Any,
    ) -> list[str]:
        """Encode documents and keep them; the ids, one each.

        Args:
            documents: One without an id gets one that follows from its text and metadata.
            ids: Instead of the documents' own.
            batch_size: Not used: LangChain's indexing passes how many documents it brings at a
                time, and the model packs texts into passes by their tokens.
            settings: Of `M3Index.add`.

        Raises:
            InputError: Metadata that is not JSON, or another number of ids than of documents.
        """
        if ids is not None and len(ids) != len(documents):
            raise InputError(
                f"There are {len(documents)} documents and {len(ids)} ids: pass one each."
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
        """Forget documents by ids or filter, all of them without either; unknown ids are fine."""
        if ids is None and filter is None:
            ids = [passage.id for passage in self.index.passages()]
        self.index.delete(ids, filter=self._where(filter), **kwargs)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents that exist, in the order of the ids."""
        return [to_document(p) for p in self.index.get(list(ids)) if p is not None]

    def similarity_search(
        self,
        query: str,
        k: int = 4,
        *,
        filter: Where = None,
        **settings: Any,
    ) -> list[Document]:
        """The best documents, as they were added; `settings` are those of `M3Index.search`."""
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
        """The best documents and their scores; more is better."""
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
        """The documents whose dense vectors are nearest to this one."""
        hits = self.index.search_by_vector(embedding, k, filter=self._where(filter), **kwargs)
        return [to_document(hit.passage) for hit in hits]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Documents near to the query and far from each other, by dense vectors."""
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
        """Of the nearest `fetch_k`, one after the other the best by this formula.

        lambda_mult * similarity to the query
        - (1 - lambda_mult) * the highest similarity to those chosen before
        """
        where = self._where(filter)
        hits = self.index.search_by_vector(embedding, max(k, fetch_k), filter=where, **kwargs)
        stored = self.index.dense_vectors([hit.passage.id for hit in hits])
        near = [(hit, v) for hit, v in zip(hits, stored, strict=True) if v is not None]
        query = np.asarray(embedding, np.float32)
        chosen = maximal_marginal_relevance(query, [v.tolist() for _, v in near], lambda_mult, k)
        return [to_document(near[i][0].passage) for i in chosen]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """`(1 + score) / 2`, at most 1: sparse and BM25 scores have no upper limit."""
        return lambda score: min(1.0, max(0.0, (1.0 + score) / 2.0))

    def _where(self, where: Where) -> Mapping[str, Any] | None:
        """A function becomes the ids of the documents that it lets through."""
        if not callable(where):
            return where
        return {"id": [p.id for p in self.index.passages() if where(to_document(p))]}


def _settings(embedding: Embeddings | None, settings: dict[str, Any]) -> dict[str, Any]:
    """The constructor's arguments, with the model of the embeddings."""
    if embedding is None:
        return settings
    if not isinstance(embedding, M3Embeddings):
        raise InputError(
            "M3VectorStore encodes with an M3 model: pass M3Embeddings(model) or model=…, not "
            f"{type(embedding).__name__}."
        )
    return {"model": embedding.model, **settings}
