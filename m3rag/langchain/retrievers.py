"""Retrievers for LangChain over an index: one pass a query, or one for a batch of them."""

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
Answers = Mapping[str, list[Hit]]


class _IndexRetriever(BaseRetriever):
    """What both retrievers do: ask the index, and give documents with scores back."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
    _new_colbert: ClassVar[ColbertMode | None] = None  # what an index in memory keeps for ColBERT

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
        """A retriever over these documents, each encoded once.

        Args:
            documents: What can be found. An id that the index has replaces; a document without
                one gets an id that follows from its text and metadata.
            model: What encodes, or its name; the process's shared BAAI/bge-m3 by default.
            path: A folder to keep the index in; without it, it is gone with the retriever.
            colbert: "stored", "on-demand" or "off": see `M3Index.open`.
            settings: The retriever's own fields.

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
        """`from_documents` for texts with metadata and ids, one each."""
        return cls.from_documents(documents_of(texts, metadatas, ids), **settings)

    def model_post_init(self, context: Any, /) -> None:
        """Refuse settings that the index cannot serve now, not at the first question."""
        super().model_post_init(context)
        self.index.check(self.k, settings=self._settings())

    def _settings(self) -> SearchSettings:
        """Return how the index is searched."""
        return SearchSettings(filter=self.filter)

    def _search_with(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a search; those of this call override the fields."""
        return {"k": self.k, "settings": self._settings(), **options}

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        answers: Answers | None = None,
        **settings: Any,
    ) -> list[Document]:
        """The best documents; `settings` of this call (k, filter, …) go before the fields."""
        if answers is None:
            hits = self.index.search(query, **self._search_with(settings))
        else:
            hits = answers[query]
        return [scored_document(hit) for hit in hits]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        answers: Answers | None = None,
        **settings: Any,
    ) -> list[Document]:
        if answers is None:
            hits = await self.index.asearch(query, **self._search_with(settings))
        else:
            hits = answers[query]
        return [scored_document(hit) for hit in hits]

    def batch(
        self,
        inputs: list[str],
        config: Configs = None,
        *,
        return_exceptions: bool = False,
        **settings: Any,
    ) -> list[list[Document]]:
        """`invoke` for each query, with all of them encoded together."""
        try:
            found = self.index.search_many(inputs, **self._search_with(settings))
            settings["answers"] = dict(zip(inputs, found, strict=True))
        except M3Error:  # one by one, so that only the query it comes from has the error
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
        """`ainvoke` for each query, with all of them encoded together."""
        try:
            found = await self.index.asearch_many(inputs, **self._search_with(settings))
            settings["answers"] = dict(zip(inputs, found, strict=True))
        except M3Error:
            pass
        return await super().abatch(inputs, config, return_exceptions=return_exceptions, **settings)


class M3EnsembleRetriever(_IndexRetriever):
    """Dense, sparse and ColBERT scores of one pass, fused; each candidate is scored by all.

        weighted   the sum of weight * score over the channels, divided by the weights' sum
        rrf        the sum of weight / (60 + rank), ranks from 1

    Documents are copies whose metadata have "relevance_score", the fused one, and "dense_score",
    "sparse_score", "colbert_score" as far as they were asked for. They are told apart by their
    ids alone: equal texts with different ids stay two.

    Example:
        >>> texts = ["Ferns like shade.", "Los helechos prefieren la sombra."]
        >>> retriever = M3EnsembleRetriever.from_texts(texts, model="tiny", k=1)
        >>> retriever.invoke("Where do I put my fern?")[0].page_content
        'Ferns like shade.'

    Attributes:
        index: what is searched; `from_documents` and `from_texts` make one.
        k: how many documents a query gets at most; `invoke(query, k=…)` for one query.
        weights: a preset ("default", "long-document", "cross-lingual"), numbers for (dense,
            sparse, colbert[, bm25]), or a mapping.
        fusion: "weighted" or "rrf".
        channels: what is scored and reported; by default what has a weight.
        candidates: how many documents each channel proposes, before all channels score all.
        balance: a field of the metadata no value of which is favoured, such as "lang".
        filter: only documents that match; see `m3rag.stores.filters`.
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
    """Retrieval by the model's learned term weights alone: `<q, p>` over common tokens.

    Only documents that share a token with the query are found. An index that it makes in memory
    keeps no ColBERT vectors. The score is in `metadata["relevance_score"]`, and in "sparse_score".

    Example:
        >>> retriever = M3SparseRetriever.from_texts(["Ferns like shade."], model="tiny")
        >>> retriever.invoke("a fern in the shade")[0].metadata["sparse_score"] > 0
        True

    Attributes:
        index: what is searched; `from_documents` and `from_texts` make one.
        k: how many documents a query gets at most; `invoke(query, k=…)` for one query.
        filter: only documents that match; see `m3rag.stores.filters`.
    """

    _new_colbert = "off"

    def _settings(self) -> SearchSettings:
        return super()._settings().changed(channels=["sparse"])
