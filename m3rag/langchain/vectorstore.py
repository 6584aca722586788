"""A LangChain vector store over an index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from m3rag.closing import closed_on_errors
from m3rag.frameworks import OPENING, IndexLike, ModelLike, check_names
from m3rag.index.settings import SearchSettings
from m3rag.langchain.base_filter import base_of
from m3rag.langchain.collection import ADD, SOURCE, upsert
from m3rag.langchain.component import component_index
from m3rag.langchain.documents import documents_of
from m3rag.langchain.embeddings import M3Embeddings
from m3rag.langchain.filters import Where
from m3rag.langchain.store_arguments import model_of_embedding, new_colbert
from m3rag.langchain.store_searches import StoreSearches
from m3rag.limits import shown
from m3rag.progress import Progress
from m3rag.scoring import Weights

_DENSE = {"dense": 1.0}
_OWN = ("embedding", "model", "path", "weights", "base_filter", "relevance_score_fn")


class M3VectorStore(StoreSearches):
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
        embedding: `M3Embeddings`, whose model the store uses, or embeddings of LangChain over them,
            such as `HypotheticalDocumentEmbedder`, which then give the dense vector of a query; or
            pass `model`.
        model: A model, or the name of the process's shared model. Without one, an existing folder
            gets its own, and a new index BAAI/bge-m3.
        path: The folder of the index; None for an index in memory.
        weights: The weights of `similarity_search`, as for `M3EnsembleRetriever`. A new index
            stores ColBERT vectors only if "colbert" has a weight.
        base_filter: A filter that every search, read, deletion and new document obeys; that of a
            call only narrows it. A component over the store has it, too.
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
        self.embedding = None if isinstance(embedding, M3Embeddings) else embedding
        self.index, opened = component_index(
            "M3VectorStore", index, path, model, settings, new_colbert=new, needed=False
        )
        self.weights = weights
        self.base_filter = base_filter = base_of(index, base_filter)
        self.relevance_score_fn = relevance_score_fn
        with closed_on_errors(self.index if opened else None):
            where = None if callable(base_filter) else base_filter
            self.index.check(1, settings=SearchSettings(weights=weights, filter=where))

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
        with closed_on_errors(store):
            base = store.base_filter
            upsert(store.index, documents, ids, source_id_key, base, progress=progress)
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
    def embeddings(self) -> Embeddings:
        """The embeddings that give the dense vectors of the store."""
        return self.embedding or M3Embeddings(self.index.model)

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

    def __repr__(self) -> str:
        base = f", base_filter={shown(self.base_filter, 80)}" if self.base_filter else ""
        return f"M3VectorStore({self.index!r}, weights={shown(self.weights)}{base})"
