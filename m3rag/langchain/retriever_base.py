"""The fields of the retrievers, their checks, and how a retriever is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Self

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables.base import coerce_to_runnable
from pydantic import ConfigDict, Field

from m3rag.closing import closed_on_errors
from m3rag.errors import InputError
from m3rag.frameworks import (
    OPENING,
    IndexLike,
    ModelLike,
    assign,
    check_scores,
    index_of,
    least_score,
    open_index,
    opening_of,
    own_errors,
)
from m3rag.index.index import M3Index
from m3rag.index.manifest import ColbertMode
from m3rag.index.settings import SETTINGS, SearchSettings
from m3rag.langchain.base_filter import base_of
from m3rag.langchain.collection import SOURCE, DocumentCollection, upsert
from m3rag.langchain.component import check_fields, component_index
from m3rag.langchain.documents import documents_of
from m3rag.limits import check_count, shown
from m3rag.progress import Progress
from m3rag.threads import in_thread


class RetrieverBase(DocumentCollection, BaseRetriever):
    """The fields of both retrievers, and how they are made."""

    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", validate_assignment=True
    )
    _new_colbert: ClassVar[ColbertMode | None] = None  # the mode of a new index

    index: M3Index = Field(repr=False)
    k: int = 4
    filter: Any = None
    base_filter: Any = None
    candidates: int | None = None
    offset: int = 0
    max_per_document: int | None = None
    min_score: Any = None
    scores: Any = True
    neighbours: int = 0
    rewrite: Any = None

    def _make(
        self, index: IndexLike | None, path: object, model: ModelLike, settings: dict[str, Any]
    ) -> None:
        """Do the work of the constructors, whose signatures are for type checkers."""
        kind = type(self)
        check_fields(kind, settings, besides=("path", "model", *OPENING))
        opening = opening_of(settings)
        found, opened = component_index(
            kind.__name__, index, path, model, opening, new_colbert=kind._new_colbert
        )
        settings["base_filter"] = base_of(index, settings.get("base_filter"))
        with closed_on_errors(found if opened else None):
            with own_errors(kind.__name__):
                super().__init__(index=found, **settings)  # type: ignore[call-arg]
            self._check()

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
            return
        check_fields(type(self), [name])
        if name != "index":
            assign(self, name, value, super().__setattr__)
            return
        base = base_of(value, self.base_filter)  # over another tenant's store, it is that tenant's
        assign(self, name, index_of(value), super().__setattr__)
        assign(self, "base_filter", base, super().__setattr__)

    def __repr__(self) -> str:
        changed = {
            name: getattr(self, name)
            for name, field in type(self).model_fields.items()
            if name not in ("index", "k") and getattr(self, name) != field.default
        }
        parts = [f"{self.index!r}, k={self.k}"]
        parts += [f"{name}={shown(value, 80)}" for name, value in changed.items()]
        return f"{type(self).__name__}({', '.join(parts)})"

    __str__ = __repr__

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[Document],
        *,
        model: ModelLike = None,
        path: object = None,
        ids: Sequence[str | None] | None = None,
        source_id_key: str | None = SOURCE,
        progress: Progress | None = None,
        **settings: Any,
    ) -> Self:
        """Return a retriever over documents, in memory or in a folder that may have some already.

        Documents that the folder has are not encoded again, and passages that the new version of a
        document no longer has are deleted; see `upsert_documents`.

        Args:
            documents: The documents to add. A document replaces a stored one with the same id; one
                without an id gets an id derived from its text and metadata.
            model: A model, or the name of the process's shared model. Without one, an existing
                folder gets its own, and a new index BAAI/bge-m3.
            path: The folder of the index; None for an index in memory.
            ids: Ids that replace those of the documents.
            source_id_key: See `upsert_documents`.
            progress: Called with ("adding passages", done, total).
            settings: The fields of the retriever, and arguments of `M3Index.open`: `colbert`,
                `context`, `analyzer`, `bm25`, `limits` and `create`.

        Raises:
            InputError: A setting is out of range, or a document cannot be stored.
        """
        known = ("model", "path", "ids", "source_id_key", "progress", *OPENING)
        check_fields(cls, settings, besides=known)
        opening = opening_of(settings)
        new = cls._new_colbert
        index = open_index(path, model=model, new_colbert=new, **opening)  # type: ignore[arg-type]
        with closed_on_errors(index):
            retriever = cls(index=index, **settings)
            base = retriever.base_filter
            upsert(index, documents, ids, source_id_key, base, progress=progress)
        return retriever

    @classmethod
    async def afrom_documents(cls, documents: Iterable[Document], **settings: Any) -> Self:
        """Run `from_documents` in a thread."""
        return await in_thread(partial(cls.from_documents, documents, **settings))

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        metadatas: Iterable[Mapping[str, Any]] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        **settings: Any,
    ) -> Self:
        """Return a retriever over texts with optional metadata and ids; see `from_documents`."""
        return cls.from_documents(documents_of(texts, metadatas, ids), **settings)

    @classmethod
    async def afrom_texts(cls, texts: Iterable[str], *args: Any, **settings: Any) -> Self:
        """Run `from_texts` in a thread."""
        return await in_thread(partial(cls.from_texts, texts, *args, **settings))

    def _check(self) -> None:
        """Check that the index supports the settings, so that no search is the first to."""
        check_scores(self.scores, "scores")
        check_count("neighbours", self.neighbours, least=0)
        if self.rewrite is not None:
            try:
                coerce_to_runnable(self.rewrite)
            except TypeError:
                raise InputError(
                    "`rewrite` must be a function or a Runnable that turns a query into texts, got "
                    f"{shown(self.rewrite)}."
                ) from None
        filters = [where for where in (self.base_filter, self.filter) if not callable(where)]
        for where in filters:
            self.index.check(self.k, settings=self._settings().changed(filter=where))

    def _settings(self) -> SearchSettings:
        """Return the settings of a search, without a filter."""
        names = [n for n in SETTINGS if n in type(self).model_fields and n != "filter"]
        options = {name: getattr(self, name) for name in names}
        options["min_score"] = least_score(self.index, self.min_score, options.get("weights"))
        return SearchSettings(**options)
