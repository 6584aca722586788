"""The index: passages in, hits out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from m3rag.documents import Passage
from m3rag.errors import InputError, StorageError
from m3rag.index import opening
from m3rag.index.adding import Progress, add_passages
from m3rag.index.answer import answer
from m3rag.index.filters import Filter, parse_filter
from m3rag.index.hit import Hit
from m3rag.index.manifest import Manifest
from m3rag.index.memory import MemoryStore
from m3rag.index.plan import Points, Store
from m3rag.index.presets import Preset, check_name, read_presets, write_presets
from m3rag.index.question import Question, Settings, Where, ask
from m3rag.index.section import expand
from m3rag.index.views import Model, points_of
from m3rag.model import Encoding, SparseVectors
from m3rag.scoring import BM25, SCORED, Analyzer, Weights


class M3Index:
    """Passages that can be searched by dense, sparse, ColBERT and BM25 scores at once.

    Any number of threads may use it; each `a…` method leaves the event loop free.

    Example:
        >>> index = M3Index.open("kb", model=M3Model.load("tiny"))
        >>> index.add(["Ferns like shade.", "Los helechos prefieren la sombra."])
        >>> index.search("Where do I put my fern?", k=1)[0].passage.text
        'Ferns like shade.'

    Attributes:
        model: what encodes passages and queries.
        manifest: which model made the index, with which settings.
        path: its folder, or None for one in memory.
    """

    def __init__(
        self,
        store: Store,
        model: Model,
        manifest: Manifest,
        *,
        path: Path | None = None,
        analyzer: Analyzer | None = None,
        presets: Mapping[str, Preset] | None = None,
    ) -> None:
        self.model = model
        self.manifest = manifest
        self.path = path
        self._store = store
        self._analyze = analyzer or model.token_ids
        self._presets = dict(presets or {})
        self._closed = False

    @classmethod
    def open(
        cls,
        path: str | Path | None = None,
        *,
        model: Model | None = None,
        colbert: str | None = None,
        context: str | None = None,
        create: bool = True,
        analyzer: Analyzer | None = None,
        bm25: BM25 | None = None,
    ) -> M3Index:
        """Open the index in a folder, or make one.

        Args:
            path: A folder; None for an index in memory.
            model: What made it, or is to make it. An index that exists loads its own by name.
            colbert: "stored" (the default for a new one; about 1 KB a token at 1024 dimensions),
                "on-demand" (candidates' passages are encoded at query time) or "off".
            context: "passage" (the default for a new one) encodes each passage alone. "document"
                reads the passages of one document together, up to the model's `max_length` tokens
                a pass, so that each one's views have seen the others. Add them side by side and in
                their order, as `m3rag index` does; a `batch` of `add` is the most that is read
                together. Explanations still look at a passage alone.
            create: Whether to make an index where there is none.
            analyzer: Texts to token ids for BM25, instead of the model's tokens; whoever opens
                the index later must pass the same.
            bm25: Its settings, for a new index.

        Raises:
            FormatError: The folder is something else, damaged, or of a newer format.
            ModelMismatchError: Another model made it.
            InUseError: Another process has it open.
            InputError: It was made with other settings, or a new one has no model.
        """
        custom = analyzer is not None
        if path is None:
            model, manifest = opening.new_manifest(model, colbert, context, custom, bm25)
            return cls(MemoryStore(), model, manifest, analyzer=analyzer)
        folder = Path(path)
        new = opening.is_new(folder, create=create)
        if new:
            model, manifest = opening.new_manifest(model, colbert, context, custom, bm25)
        else:
            model, manifest = opening.old_manifest(folder, model, colbert, context, custom, bm25)
        presets = read_presets(folder)
        store = opening.open_store(folder, manifest, new=new)
        return cls(store, model, manifest, path=folder, analyzer=analyzer, presets=presets)

    @property
    def channels(self) -> tuple[str, ...]:
        """What this index can score: "dense", "sparse", "bm25", and "colbert" unless it is off."""
        return tuple(c for c in SCORED if c != "colbert" or self.manifest.colbert != "off")

    @property
    def presets(self) -> Mapping[str, Preset]:
        """Weights of this index's own, by the names that `search` takes."""
        return MappingProxyType(self._presets)

    @cached_property
    def _models_presets(self) -> dict[str, Preset]:
        return {name: Preset(own) for name, own in self.model.presets.items()}

    def check(
        self, k: int, *, texts: Sequence[str] = ("?",), **settings: Unpack[Settings]
    ) -> Question:
        """What `search` makes of its arguments, without searching.

        Raises:
            InputError: this index cannot serve them.
        """
        return ask(
            texts,
            k,
            self.channels,
            colbert=self.manifest.colbert,
            presets=self._models_presets | self._presets,
            **settings,
        )

    def save_preset(self, name: str, preset: Preset) -> None:
        """Keep weights, for `search(weights=name)`; those of that name are replaced.

        Raises:
            InputError: the name is empty or taken by a preset that every index has.
        """
        self._check_open()
        presets = {**self._presets, check_name(name): preset}
        if self.path is not None:
            write_presets(self.path, presets)
        self._presets = presets

    def add(
        self,
        passages: Iterable[Passage | str],
        *,
        progress: Progress | None = None,
        batch: int = 64,
    ) -> list[str]:
        """Encode passages and keep them; one whose id exists is replaced.

        Passages are drawn from the iterable as they are needed, and the next `batch` is encoded
        while the last one is written. Whatever stops it, Ctrl-C, an error, a killed process: what
        `progress` has reported stays.

        Args:
            passages: Passages; or strings, which get an id that follows from their text.
            progress: Called with the number of passages that have just become durable.
            batch: Passages encoded at a time.

        Returns:
            The ids, one for each passage given, in that order.

        Raises:
            InputError: Something is neither a passage nor a string, or cannot be stored.
            StorageError: The disk is full, the engine failed, or the index is closed.
        """
        self._check_open()
        return add_passages(
            passages,
            encode=self._points,
            write=self._store.add,
            batch=batch,
            progress=progress,
        )

    async def aadd(
        self,
        passages: Iterable[Passage | str],
        *,
        progress: Progress | None = None,
        batch: int = 64,
    ) -> list[str]:
        """`add` in a thread; `progress` is called from there."""
        return await asyncio.to_thread(self.add, passages, progress=progress, batch=batch)

    def delete(self, ids: Sequence[str] | None = None, *, filter: Where = None) -> int:
        """Forget passages by their ids, or all that match a filter; how many there were.

        Raises:
            InputError: Neither ids nor a filter, or both.
        """
        self._check_open()
        where = parse_filter(filter)
        if (ids is None) == (where is None):
            raise InputError("delete needs either ids or a filter that says something.")
        if where is not None:
            return self._store.delete_where(where)
        return self._store.delete(_id_list(ids))

    async def adelete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: Where = None,
    ) -> int:
        """`delete` in a thread."""
        return await asyncio.to_thread(self.delete, ids, filter=filter)

    def get(self, ids: Sequence[str]) -> list[Passage | None]:
        """The passages with these ids, in that order; None where there is none."""
        self._check_open()
        return self._store.get(_id_list(ids))

    def count(self, filter: Where = None) -> int:
        """How many passages there are, or match."""
        self._check_open()
        return self._store.count(parse_filter(filter))

    def passages(self, filter: Where = None, *, batch: int = 256) -> Iterator[Passage]:
        """All passages that match, without vectors, in no particular order.

        Fetched `batch` at a time: what is added or deleted meanwhile may or may not be seen.
        """
        self._check_open()
        return self._scan(parse_filter(filter), batch)

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        weights: Weights = "default",
        fusion: str = "weighted",
        channels: Sequence[str] | None = None,
        filter: Where = None,
        candidates: int | None = None,
        balance: str | None = None,
    ) -> list[Hit]:
        """The passages that answer a query best, best first.

        Args:
            query: Encoded as it is.
            k: How many hits; fewer come back where the index has fewer.
            weights: A preset ("default", "long-document", "cross-lingual", or one of `presets`),
                three or four numbers (dense, sparse, colbert, bm25), or a mapping. Scores are
                summed with these weights and divided by the weights' sum. BM25 scores reach 20 and
                more where the others stay below 1: weigh it accordingly, or fuse by ranks.
            fusion: "weighted", or "rrf": the sum of weight / (60 + rank).
            channels: What to score and report, of `self.channels`; by default what has a weight.
                Which of them propose and count: see `m3rag.index.recipe`. `["colbert"]` alone
                compares with every passage, exactly and slowly.
            filter: Only passages that match; see `m3rag.index.filters`.
            candidates: How many passages each proposing channel proposes, at least `k`; 100 or `k`
                by default. Every channel then scores all of them.
            balance: A field of the metadata, such as "lang", no value of which is to be ahead for
                what it is: candidates with one value get the mean and deviation that all have, in
                each channel, before the weighted sum. `score` and the order follow; the hit's
                other scores stay as they are. Best with many candidates.

        Raises:
            InputError: An empty query, or an argument out of range; it says what to pass.
            StorageError: The engine failed, or the index is closed.
        """
        return self.search_many(
            [query],
            k,
            weights=weights,
            fusion=fusion,
            channels=channels,
            filter=filter,
            candidates=candidates,
            balance=balance,
        )[0]

    def search_many(
        self, queries: Sequence[str], k: int = 10, **settings: Unpack[Settings]
    ) -> list[list[Hit]]:
        """`search` for each query, with its keyword arguments; all are encoded together."""
        question = self._question(queries, k, **settings)
        views = self.model.encode(question.texts) if question.encoded else None
        return self._answer(question, views)

    async def asearch(self, query: str, k: int = 10, **settings: Unpack[Settings]) -> list[Hit]:
        """`search`, with its keyword arguments, without blocking the event loop."""
        return (await self.asearch_many([query], k, **settings))[0]

    async def asearch_many(
        self, queries: Sequence[str], k: int = 10, **settings: Unpack[Settings]
    ) -> list[list[Hit]]:
        """`search_many`, without blocking the event loop."""
        question = self._question(queries, k, **settings)
        views = None
        if question.encoded:
            views = await self.model.aencode(question.texts)
        return await asyncio.to_thread(self._answer, question, views)

    def search_by_vector(
        self,
        vector: Sequence[float] | NDArray[np.floating],
        k: int = 10,
        *,
        filter: Where = None,
    ) -> list[Hit]:
        """The passages whose dense vectors are nearest to one `(dim,)`, by inner product.

        Raises:
            InputError: the vector has another width, or something that is not a number.
        """
        dense = np.asarray(vector, np.float32)
        if dense.shape != (self.manifest.dim,) or not np.isfinite(dense).all():
            raise InputError(
                f"The vector must be {self.manifest.dim} finite numbers, as the model "
                f"{self.model.name!r} gives, got shape {dense.shape}."
            )
        settings = Settings(channels=["dense"], filter=filter, candidates=k)
        one = Encoding(
            n_tokens=np.zeros(1, np.int32), truncated=np.zeros(1, np.bool_), dense=dense[None]
        )
        hits = self._answer(self._question(["(a vector)"], k, **settings), one)[0]
        return [replace(hit, _origin=None) for hit in hits]  # no text to explain them by

    def expand(self, hits: Sequence[Hit], neighbours: int = 1) -> list[Hit]:
        """Hits whose passages are widened to the sections around them.

        A section is the passage with `neighbours` passages of its document before and after it, as
        far as they are stored without a gap. `start` and `end` count characters of the document;
        white space between passages has its length, not always its kind. Hits whose sections share
        a character become one, with the scores and the id of the best. A passage without a
        document or a place in it stays as it is.

        Raises:
            InputError: a negative number of neighbours.
        """
        self._check_open()
        return expand(hits, neighbours, lambda name: [*self.passages({"document_id": name})])

    def dense_vectors(self, ids: Sequence[str]) -> list[NDArray[np.float32] | None]:
        """The stored dense vectors `(dim,)` of these passages; None where there is none."""
        self._check_open()
        return self._store.dense_vectors(_id_list(ids))

    def optimize(self) -> None:
        """Merge what many adds have scattered and drop what was deleted; quantise large indexes.

        Worth it after a large `add`. Minutes at a million passages; searches wait for it, other
        threads and the event loop do not.
        """
        self._check_open()
        self._store.optimize()

    def close(self) -> None:
        """Let go of the files; a second time does nothing. The model stays usable."""
        if not self._closed:
            self._closed = True
            self._store.close()

    def __enter__(self) -> M3Index:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return True  # an empty index is still one

    def __repr__(self) -> str:
        place = "in memory" if self.path is None else repr(str(self.path))
        state = ", closed" if self._closed else ""
        mode = self.manifest.colbert
        return f"M3Index({place}, model={self.model.name!r}, colbert={mode!r}{state})"

    def _points(self, passages: Sequence[Passage]) -> Points:
        return points_of(
            passages,
            self.model,
            colbert=self.manifest.colbert == "stored",
            together=self.manifest.context == "document",
            bm25=self.manifest.bm25,
            analyze=self._analyze,
        )

    def _question(self, texts: Sequence[str], k: int, **settings: Unpack[Settings]) -> Question:
        self._check_open()
        return self.check(k, texts=texts, **settings)

    def _answer(self, question: Question, views: Encoding | None) -> list[list[Hit]]:
        bm25: SparseVectors | None = None
        if "bm25" in question.recipe.scored:
            bm25 = self.manifest.bm25.queries(self._analyze(question.texts))
        return answer(
            question,
            views,
            bm25,
            store=self._store,
            model=self.model,
            on_demand=self.manifest.colbert == "on-demand",
        )

    def _scan(self, where: Filter | None, batch: int) -> Iterator[Passage]:
        after: str | None = None
        while True:
            page, after = self._store.scan(where, after, batch)
            yield from page
            if after is None:
                return
            self._check_open()

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError("This index is closed. Open it again: M3Index.open(path).")


def _id_list(ids: Sequence[str] | None) -> list[str]:
    if ids is None or isinstance(ids, str) or not all(isinstance(i, str) for i in ids):
        raise InputError(f'ids is a list of strings, such as ["a", "b"], got {ids!r}.')
    return list(ids)
