"""Search a collection by a text, by several texts, or by a vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from m3rag.encoder import Model
from m3rag.encoding import Encoding
from m3rag.errors import InputError
from m3rag.index.documents import DocumentCollection
from m3rag.index.hit import Hit
from m3rag.index.opening import StoredIndex
from m3rag.index.pooling import Query, pooled_counts, pooled_encoding
from m3rag.index.presets import Preset
from m3rag.index.query import SearchRequest, parse_request
from m3rag.index.search import query_vector, run_search, vector_encoding
from m3rag.index.settings import DEFAULTS, SearchOptions, SearchSettings
from m3rag.limits import DEFAULT_LIMITS, Limits
from m3rag.scoring import SCORED, Analyzer
from m3rag.stores.filters import Where
from m3rag.threads import in_thread

Vector = Sequence[float] | NDArray[np.floating]
"""A dense vector `(dim,)`."""


class SearchableCollection(DocumentCollection):
    """A collection of passages that can be searched."""

    def __init__(
        self,
        stored: StoredIndex,
        model: Model,
        *,
        analyzer: Analyzer | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        super().__init__(stored, model, analyzer=analyzer, limits=limits)
        self._presets = dict(stored.presets)

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels of the index: all, or all but "colbert" if `colbert="off"`."""
        return tuple(c for c in SCORED if c != "colbert" or self.manifest.colbert != "off")

    @property
    def presets(self) -> Mapping[str, Preset]:
        """The weights saved in the index, by the name to pass as `weights`."""
        return MappingProxyType(self._presets)

    @cached_property
    def _model_presets(self) -> dict[str, Preset]:
        return {name: Preset(weights) for name, weights in self.model.presets.items()}

    def check(
        self,
        k: int,
        *,
        texts: Sequence[str | Query] = ("?",),
        settings: SearchSettings = DEFAULTS,
        **options: Unpack[SearchOptions],
    ) -> SearchRequest:
        """Check the arguments of a search without searching.

        Raises:
            InputError: An argument is out of range or not supported by the index.
        """
        return parse_request(
            texts,
            k,
            settings.changed(**options),
            self.channels,
            colbert=self.manifest.colbert,
            presets=self._model_presets | self._presets,
            limits=self.limits,
        )

    def search(
        self,
        query: str | Query,
        k: int = 10,
        *,
        settings: SearchSettings = DEFAULTS,
        **options: Unpack[SearchOptions],
    ) -> list[Hit]:
        """Return the `k` passages with the highest scores, best first.

        Args:
            query: The text to search for, encoded without a prefix; or a `Query` of several texts.
            k: The number of hits; fewer if the index has fewer passages.
            settings: How to search.
            options: Fields of `SearchSettings` that differ from `settings`: `weights`, `fusion`,
                `channels`, `filter`, `candidates`, `balance`, `offset`, `max_per_document`,
                `min_score`, `rrf_k`.

        Raises:
            InputError: The query is empty or an argument is out of range.
            StorageError: The storage engine failed.
            ClosedError: The index is closed.
        """
        return self.search_many([query], k, settings=settings, **options)[0]

    def search_many(
        self,
        queries: Sequence[str | Query],
        k: int = 10,
        *,
        settings: SearchSettings = DEFAULTS,
        **options: Unpack[SearchOptions],
    ) -> list[list[Hit]]:
        """Search for several queries, which are encoded together; see `search`."""
        request = self._request(queries, k, settings.changed(**options))
        return self._run(request, self.model.encode(request.texts) if request.encoded else None)

    async def asearch(
        self,
        query: str | Query,
        k: int = 10,
        *,
        settings: SearchSettings = DEFAULTS,
        **options: Unpack[SearchOptions],
    ) -> list[Hit]:
        """Run `search` without blocking the event loop."""
        return (await self.asearch_many([query], k, settings=settings, **options))[0]

    async def asearch_many(
        self,
        queries: Sequence[str | Query],
        k: int = 10,
        *,
        settings: SearchSettings = DEFAULTS,
        **options: Unpack[SearchOptions],
    ) -> list[list[Hit]]:
        """Run `search_many` without blocking the event loop."""
        request = self._request(queries, k, settings.changed(**options))
        encoding = await self.model.aencode(request.texts) if request.encoded else None
        return await in_thread(self._run, request, encoding)

    def search_by_vector(
        self,
        vector: Vector,
        k: int = 10,
        *,
        filter: Where = None,
        candidates: int | None = None,
        offset: int = 0,
        max_per_document: int | None = None,
        min_score: float | None = None,
    ) -> list[Hit]:
        """Return the `k` passages nearest to a dense vector `(dim,)`, by inner product.

        Args:
            vector: The vector; of unit length, if scores shall be cosines.
            k: The number of hits.
            filter: As for `search`, like the arguments below.
            candidates: The number of passages to retrieve; by default those that are needed, or
                100 with `max_per_document`.
            offset: The number of best hits to leave out.
            max_per_document: The most hits with the same `document_id`.
            min_score: The lowest score of a hit.

        Raises:
            InputError: The vector does not have `dim` finite numbers, or an argument is out of
                range.
        """
        encoding = vector_encoding(query_vector(vector, self.model))
        settings = SearchSettings(
            channels=["dense"],
            filter=filter,
            candidates=candidates,
            offset=offset,
            max_per_document=max_per_document,
            min_score=min_score,
        )
        request = self._request(["(a vector)"], k, settings)
        if candidates is None and max_per_document is None:
            request = replace(request, candidates=k + offset)
        return [replace(hit, _explain=None) for hit in self._run(request, encoding)[0]]

    async def asearch_by_vector(
        self,
        vector: Vector,
        k: int = 10,
        *,
        filter: Where = None,
        candidates: int | None = None,
        offset: int = 0,
        max_per_document: int | None = None,
        min_score: float | None = None,
    ) -> list[Hit]:
        """Run `search_by_vector` in a thread."""
        return await in_thread(
            self.search_by_vector,
            vector,
            k,
            filter=filter,
            candidates=candidates,
            offset=offset,
            max_per_document=max_per_document,
            min_score=min_score,
        )

    def _request(
        self, queries: Sequence[str | Query], k: int, settings: SearchSettings
    ) -> SearchRequest:
        self._check_open()
        request = self.check(k, texts=queries, settings=settings)
        checked = tuple(self._with_vector(query, request.plan.score) for query in request.queries)
        return replace(request, queries=checked)

    def _with_vector(self, query: Query, score: Sequence[str]) -> Query:
        """Return a query with its dense vector in float32, if it has one."""
        if query.dense is None:
            return query
        vector = query_vector(query.dense, self.model)
        if "dense" not in score:
            raise InputError(
                "The query has a dense vector, but the search does not score dense. Leave "
                f"the vector out, or add dense to {', '.join(score)}."
            )
        return replace(query, dense=vector)

    def _run(self, request: SearchRequest, encoding: Encoding | None) -> list[list[Hit]]:
        bm25 = None
        if "bm25" in request.plan.score:
            counts = self.manifest.bm25.queries(self._analyze(request.texts))
            bm25 = pooled_counts(request.queries, counts)
        if encoding is not None:
            encoding = pooled_encoding(request.queries, encoding)
        on_demand = self.manifest.colbert == "on-demand"
        return run_search(
            request, encoding, bm25, store=self._store, model=self.model, on_demand=on_demand
        )
