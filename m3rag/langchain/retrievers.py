"""Retrievers for LangChain over an index; a batch of queries is encoded together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Unpack

from langchain_core.runnables import Runnable

from m3rag.frameworks import IndexLike, ModelLike, Opening, Scores
from m3rag.index.pooling import Query
from m3rag.index.settings import SearchSettings
from m3rag.langchain.filters import Where
from m3rag.langchain.index_retriever import IndexRetriever
from m3rag.scoring import Fusion, Weights

Texts = str | Sequence[str] | Query


class RetrieverOptions(Opening, total=False):
    """The arguments of both retrievers besides `index`, `path` and `model`."""

    k: int
    candidates: int | None
    offset: int
    max_per_document: int | None
    min_score: float | str | None
    filter: Where
    base_filter: Where
    scores: Scores
    neighbours: int
    rewrite: Runnable[str, Any] | Callable[[str], Texts] | None
    name: str | None
    tags: list[str] | None
    metadata: dict[str, Any] | None


class EnsembleOptions(RetrieverOptions, total=False):
    """The arguments of `M3EnsembleRetriever` besides `index`, `path` and `model`."""

    weights: Weights
    fusion: Fusion
    channels: Sequence[str] | None
    balance: str | None
    rrf_k: float | None


class M3EnsembleRetriever(IndexRetriever):
    """A retriever that fuses dense, sparse and ColBERT scores from one forward pass.

    All channels score each candidate.

        weighted   the sum of weight * score over the channels, divided by the sum of the weights
        rrf        the sum of weight / (rrf_k + rank), ranks from 1

    Returns copies of the documents with the fused score as "relevance_score" in their metadata,
    and the scores of the searched channels as "dense_score", "sparse_score" and "colbert_score".
    Documents are identified by their ids alone: equal texts with different ids are two documents.
    An empty query finds nothing.

    Example:
        >>> texts = ["Ferns like shade.", "Los helechos prefieren la sombra."]
        >>> retriever = M3EnsembleRetriever.from_texts(texts, model="tiny", k=1)
        >>> retriever.invoke("Where do I put my fern?")[0].page_content
        'Ferns like shade.'

    Besides its fields, the constructor takes `path` and `model` instead of `index`, to open or
    create the index in a folder, and the settings of `M3Index.open` with them.

    Attributes:
        index: The index to search, or what has one: a store, a retriever, or a folder.
        k: The number of documents; `invoke(query, k=…)` sets it for one query, as all that follow.
        weights: A preset ("default", "long-document", "cross-lingual"), numbers for (dense,
            sparse, colbert[, bm25]), or a mapping.
        fusion: "weighted" or "rrf".
        channels: The channels to score and report; by default those with a weight.
        candidates: The number of candidates that each channel retrieves; all channels then score
            all of them.
        balance: A metadata field, such as "lang", none of whose values gets an advantage.
        offset: The number of best documents to leave out, for the next page of results.
        max_per_document: The most passages of the same source document.
        rrf_k: The constant of the fusion "rrf", 60 by default.
        min_score: The lowest fused score of a document that is returned.
        filter: Search only documents that match: a dict (see `m3rag.stores.filters`), or a function
            of a document. The filter of a call replaces it.
        base_filter: A filter that holds for every call, so that a call's filter only narrows it:
            that of a tenant, for example. It also holds for reading, adding and deleting documents,
            and for components over this one.
        scores: True puts scores into the metadata, a string before the key of each of them, and
            False leaves the documents as they were added.
        neighbours: The number of passages before and after a found one to return with it; see
            `M3Index.expand`.
        rewrite: A function or a Runnable that turns the query into the texts to search for: one
            text, several, or an `m3rag.Query`. Several are one query, in all channels: other
            wordings, or passages that a language model wrote as an answer (HyDE).
    """

    weights: Any = "default"  # checked by the index, whose error lists the choices
    fusion: Any = "weighted"
    channels: Any = None
    balance: str | None = None
    rrf_k: float | None = None

    # Type checkers would otherwise take the fields for the only arguments.
    def __init__(
        self,
        index: IndexLike | None = None,
        *,
        path: str | Path | None = None,
        model: ModelLike = None,
        **settings: Unpack[EnsembleOptions],
    ) -> None:
        self._make(index, path, model, dict(settings))


class M3SparseRetriever(IndexRetriever):
    """A retriever that uses the model's term weights alone: `<q, p>` over common tokens.

    Finds only documents that share a token with the query. An index that it creates in memory
    stores no ColBERT vectors. The metadata of a document has the score as "relevance_score" and as
    "sparse_score". An empty query finds nothing.

    Example:
        >>> retriever = M3SparseRetriever.from_texts(["Ferns like shade."], model="tiny")
        >>> retriever.invoke("a fern in the shade")[0].metadata["sparse_score"] > 0
        True

    Besides its fields, the constructor takes `path` and `model` instead of `index`, and the
    settings of `M3Index.open` with them.

    Attributes:
        index: The index to search, or what has one: a store, a retriever, or a folder.
        k: The number of documents; `invoke(query, k=…)` sets it for one query, as all that follow.
        candidates, offset, max_per_document, min_score, filter: As for `M3EnsembleRetriever`.
        base_filter: A filter that holds for every call, as for `M3EnsembleRetriever`.
        scores: Whether and how scores go into the metadata, as for `M3EnsembleRetriever`.
        neighbours, rewrite: As for `M3EnsembleRetriever`.
    """

    _new_colbert = "off"

    def __init__(
        self,
        index: IndexLike | None = None,
        *,
        path: str | Path | None = None,
        model: ModelLike = None,
        **settings: Unpack[RetrieverOptions],
    ) -> None:
        self._make(index, path, model, dict(settings))

    def _settings(self) -> SearchSettings:
        return super()._settings().changed(channels=["sparse"])
