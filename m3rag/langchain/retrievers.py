"""Retrievers for LangChain over an index; a batch of queries is encoded together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Self

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from pydantic import ConfigDict, Field

from m3rag.encoder import Model
from m3rag.errors import M3Error
from m3rag.index import Hit, M3Index
from m3rag.index.manifest import ColbertMode
from m3rag.index.settings import SearchSettings
from m3rag.langchain.documents import documents_of, scored_document, to_passage
from m3rag.model.shared import model_of

Configs = RunnableConfig | list[RunnableConfig] | None
HitsByQuery = Mapping[str, list[Hit]]


class _IndexRetriever(BaseRetriever):
    """The base of both retrievers: search an index and return documents with scores."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
    _new_colbert: ClassVar[ColbertMode | None] = None  # the mode of a new index in memory

    index: M3Index = Field(repr=False)
    k: int = 4
    filter: dict[str, Any] | None = None

    @classmethod
    def from_documents(
        cls,
        documents: Sequence[Document],
        *,
        model: Model | str | None = None,
        path: str | Path | None = None,
        colbert: ColbertMode | None = None,
        **settings: Any,
    ) -> Self:
        """Return a retriever over documents; encodes each once.

        Args:
            documents: The documents to add. A document replaces a stored one with the same id; one
                without an id gets an id derived from its text and metadata.
            model: A model, or the name of the process's shared model; BAAI/bge-m3 by default.
            path: The folder of the index; None for an index in memory.
            colbert: "stored", "on-demand" or "off"; see `M3Index.open`.
            settings: The fields of the retriever.

        Raises:
            InputError: A setting is out of range, or a document cannot be stored.
        """
        colbert = colbert or (cls._new_colbert if path is None else None)
        index = M3Index.open(path, model=model_of(model), colbert=colbert)
        retriever = cls(index=index, **settings)
        index.add(map(to_passage, documents))
        return retriever

    @classmethod
    def from_texts(
        cls,
        texts: Sequence[str],
        metadatas: Sequence[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str] | None = None,
        **settings: Any,
    ) -> Self:
        """Return a retriever over texts with optional metadata and ids; see `from_documents`."""
        return cls.from_documents(documents_of(texts, metadatas, ids), **settings)

    def model_post_init(self, context: Any, /) -> None:
        """Check now, not at the first query, that the index supports the settings."""
        super().model_post_init(context)
        self.index.check(self.k, settings=self._settings())

    def _settings(self) -> SearchSettings:
        """Return the settings of a search."""
        return SearchSettings(filter=self.filter)

    def _search_with(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a search; the options of a call override the fields."""
        return {"k": self.k, "settings": self._settings(), **options}

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        prefetched: HitsByQuery | None = None,
        **settings: Any,
    ) -> list[Document]:
        """Return the best documents; `settings` of the call (k, filter, …) override the fields."""
        if prefetched is None:
            hits = self.index.search(query, **self._search_with(settings))
        else:
            hits = prefetched[query]
        return [scored_document(hit) for hit in hits]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        prefetched: HitsByQuery | None = None,
        **settings: Any,
    ) -> list[Document]:
        if prefetched is None:
            hits = await self.index.asearch(query, **self._search_with(settings))
        else:
            hits = prefetched[query]
        return [scored_document(hit) for hit in hits]

    def batch(
        self,
        inputs: list[str],
        config: Configs = None,
        *,
        return_exceptions: bool = False,
        **settings: Any,
    ) -> list[list[Document]]:
        """Run `invoke` for each query, with all queries encoded together."""
        try:
            found = self.index.search_many(inputs, **self._search_with(settings))
            settings["prefetched"] = dict(zip(inputs, found, strict=True))
        except M3Error:  # search one by one, so that only the query at fault fails
            pass
        return super().batch(inputs, config, return_exceptions=return_exceptions, **settings)

    async def abatch(
        self,
        inputs: list[str],
        config: Configs = None,
        *,
        return_exceptions: bool = False,
        **settings: Any,
    ) -> list[list[Document]]:
        """Run `ainvoke` for each query, with all queries encoded together."""
        try:
            found = await self.index.asearch_many(inputs, **self._search_with(settings))
            settings["prefetched"] = dict(zip(inputs, found, strict=True))
        except M3Error:
            pass
        return await super().abatch(inputs, config, return_exceptions=return_exceptions, **settings)


class M3EnsembleRetriever(_IndexRetriever):
    """A retriever that fuses dense, sparse and ColBERT scores from one forward pass.

    All channels score each candidate.

        weighted   the sum of weight * score over the channels, divided by the sum of the weights
        rrf        the sum of weight / (60 + rank), ranks from 1

    Returns copies of the documents with the fused score as "relevance_score" in their metadata,
    and the scores of the searched channels as "dense_score", "sparse_score" and "colbert_score".
    Documents are identified by their ids alone: equal texts with different ids are two documents.

    Example:
        >>> texts = ["Ferns like shade.", "Los helechos prefieren la sombra."]
        >>> retriever = M3EnsembleRetriever.from_texts(texts, model="tiny", k=1)
        >>> retriever.invoke("Where do I put my fern?")[0].page_content
        'Ferns like shade.'

    Attributes:
        index: The index to search; `from_documents` and `from_texts` create one.
        k: The number of documents; `invoke(query, k=…)` sets it for one query.
        weights: A preset ("default", "long-document", "cross-lingual"), numbers for (dense,
            sparse, colbert[, bm25]), or a mapping.
        fusion: "weighted" or "rrf".
        channels: The channels to score and report; by default those with a weight.
        candidates: The number of candidates that each channel retrieves; all channels then score
            all of them.
        balance: A metadata field, such as "lang", none of whose values gets an advantage.
        filter: Search only documents that match; see `m3rag.stores.filters`.
    """

    weights: str | Sequence[float] | Mapping[str, float] = "default"
    fusion: Any = "weighted"  # checked by the index, whose error lists the choices
    channels: Sequence[str] | None = None
    candidates: int | None = None
    balance: str | None = None

    def _settings(self) -> SearchSettings:
        return SearchSettings(
            **{field.name: getattr(self, field.name) for field in fields(SearchSettings)}
        )


class M3SparseRetriever(_IndexRetriever):
    """A retriever that uses the model's term weights alone: `<q, p>` over common tokens.

    Finds only documents that share a token with the query. An index that it creates in memory
    stores no ColBERT vectors. The metadata of a document has the score as "relevance_score" and as
    "sparse_score".

    Example:
        >>> retriever = M3SparseRetriever.from_texts(["Ferns like shade."], model="tiny")
        >>> retriever.invoke("a fern in the shade")[0].metadata["sparse_score"] > 0
        True

    Attributes:
        index: The index to search; `from_documents` and `from_texts` create one.
        k: The number of documents; `invoke(query, k=…)` sets it for one query.
        filter: Search only documents that match; see `m3rag.stores.filters`.
    """

    _new_colbert = "off"

    def _settings(self) -> SearchSettings:
        return super()._settings().changed(channels=["sparse"])
