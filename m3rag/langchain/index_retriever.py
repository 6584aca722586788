"""Searches of the retrievers: one query or a batch, with or without an event loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.base import coerce_to_runnable

from m3rag.documents import Passage
from m3rag.errors import InputError, M3Error
from m3rag.frameworks import Scores, check_names, check_scores, least_score
from m3rag.index.expand import expand
from m3rag.index.hit import Hit
from m3rag.index.pooling import Query
from m3rag.index.settings import SETTINGS
from m3rag.langchain.filters import Where, where_of
from m3rag.langchain.retriever_base import RetrieverBase
from m3rag.langchain.scores import scored_document
from m3rag.limits import shown
from m3rag.threads import in_thread

Configs = RunnableConfig | list[RunnableConfig] | None
HitsByQuery = Mapping[str, list[Hit]]

_RESULTS = ("scores", "neighbours")  # how hits become documents


class IndexRetriever(RetrieverBase):
    """The base of both retrievers: search an index and return documents with scores."""

    @classmethod
    def _call_names(cls) -> tuple[str, ...]:
        """Return the names of the settings that a call can change."""
        return ("k", *(name for name in SETTINGS if name in cls.model_fields), *_RESULTS)

    def _search(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a search; the options of a call come before the fields.

        Raises:
            ArgumentError: A call has no such option.
        """
        check_names(f"A call of {type(self).__name__}", options, self._call_names())
        given = {name: value for name, value in options.items() if name not in _RESULTS}
        where: Where = given.pop("filter", self.filter)
        given["filter"] = where_of(self.index, self.base_filter, where)
        settings = self._settings()
        if "min_score" in given:
            weights = given.get("weights", settings.weights)
            given["min_score"] = least_score(self.index, given["min_score"], weights)
        return {"k": self.k, "settings": settings, **given}

    def _documents(self, hits: Sequence[Hit], options: dict[str, Any]) -> list[Document]:
        """Return the documents of hits, with their neighbours and scores."""
        neighbours = options.get("neighbours", self.neighbours)
        scores: Scores = options.get("scores", self.scores)
        check_scores(scores, "scores")
        if neighbours != 0:
            hits = expand(hits, neighbours, self._of_document)
        return [scored_document(hit, scores) for hit in hits]

    def _of_document(self, name: str) -> list[Passage]:
        where = where_of(self.index, self.base_filter, {"$document_id": name})
        return [*self.index.passages(where)]

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        prefetched: HitsByQuery | None = None,
        **settings: Any,
    ) -> list[Document]:
        """Return the best documents; `settings` of the call (k, filter, …) override the fields."""
        if prefetched is not None:
            return self._documents(prefetched[query], settings)
        arguments = self._search(settings)
        if blank(query):
            return []
        texts: str | Query = query
        if self.rewrite is not None:
            run = coerce_to_runnable(self.rewrite)
            texts = _texts(query, run.invoke(query, {"callbacks": run_manager.get_child()}))
        return self._documents(self.index.search(texts, **arguments), settings)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        prefetched: HitsByQuery | None = None,
        **settings: Any,
    ) -> list[Document]:
        if prefetched is not None:
            return await in_thread(self._documents, prefetched[query], settings)
        arguments = await in_thread(self._search, settings)  # a filter may be a function
        if blank(query):
            return []
        texts: str | Query = query
        if self.rewrite is not None:
            run = coerce_to_runnable(self.rewrite)
            config: RunnableConfig = {"callbacks": run_manager.get_child()}
            texts = _texts(query, await run.ainvoke(query, config))
        hits = await self.index.asearch(texts, **arguments)
        return await in_thread(self._documents, hits, settings)

    def batch(
        self,
        inputs: list[str],
        config: Configs = None,
        *,
        return_exceptions: bool = False,
        **settings: Any,
    ) -> list[list[Document]]:
        """Run `invoke` for each query, with all queries encoded together."""
        if self.rewrite is not None:
            return super().batch(inputs, config, return_exceptions=return_exceptions, **settings)
        try:
            queries = [query for query in inputs if not blank(query)]
            found = self.index.search_many(queries, **self._search(settings))
            settings["prefetched"] = _by_query(inputs, queries, found)
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
        if self.rewrite is not None:
            return await super().abatch(
                inputs, config, return_exceptions=return_exceptions, **settings
            )
        try:
            queries = [query for query in inputs if not blank(query)]
            arguments = await in_thread(self._search, settings)
            found = await self.index.asearch_many(queries, **arguments)
            settings["prefetched"] = _by_query(inputs, queries, found)
        except M3Error:
            pass
        return await super().abatch(inputs, config, return_exceptions=return_exceptions, **settings)


def blank(query: object) -> bool:
    """Return whether a query has no text, as agents send it: the answer is then no document."""
    return isinstance(query, str) and not query.strip()


def _by_query(
    inputs: Sequence[str], queries: Sequence[str], found: Sequence[list[Hit]]
) -> dict[str, list[Hit]]:
    return {query: [] for query in inputs} | dict(zip(queries, found, strict=True))


def _texts(query: str, rewritten: object) -> str | Query:
    """Return what to search for: what `rewrite` returned, or the query if that has no text.

    Raises:
        InputError: It is neither a text, nor several, nor a `Query`.
    """
    if isinstance(rewritten, Query):
        return rewritten
    texts = [rewritten] if isinstance(rewritten, str) else rewritten
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise InputError(
            f"`rewrite` must return a text, a list of texts or a Query, got {shown(rewritten)}. "
            "End a chain with StrOutputParser()."
        )
    said = [text for text in texts if text.strip()]
    return Query(said) if said else query
