"""Add, delete and read the passages of an index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from m3rag.closing import Closing
from m3rag.documents import Passage
from m3rag.encoder import Model
from m3rag.errors import ClosedError, InputError, M3Error
from m3rag.index.add import add_passages, points_of
from m3rag.index.manifest import Manifest
from m3rag.index.opening import StoredIndex
from m3rag.limits import DEFAULT_LIMITS, Limits, check_count, shown
from m3rag.progress import Progress
from m3rag.scoring import Analyzer
from m3rag.scoring.fusion import Floats
from m3rag.stores.base import Points, pages
from m3rag.stores.filters import Filter, Where, parse_filter
from m3rag.threads import in_thread


class Collection(Closing):
    """Passages in a store, encoded by a model. `M3Index` adds documents and searching.

    Attributes:
        model: Encodes the passages.
        stored: The location, manifest and store of the index.
        limits: The largest passages, queries and filters that the index accepts.
        analyzer: The analyzer for BM25; None for the model's tokenizer.
    """

    def __init__(
        self,
        stored: StoredIndex,
        model: Model,
        *,
        analyzer: Analyzer | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.model = model
        self.limits = limits
        self.stored = stored
        self._store = stored.store
        self.analyzer = analyzer
        self._analyze = analyzer or model.token_ids
        self._closed = False

    @property
    def manifest(self) -> Manifest:
        """Which model built the index, and with which settings."""
        return self.stored.manifest

    @property
    def closed(self) -> bool:
        """Whether the index was closed."""
        return self._closed

    def add(
        self,
        passages: Iterable[Passage | str],
        *,
        progress: Progress | None = None,
        batch: int = 64,
        durable: bool = False,
    ) -> list[str]:
        """Encode and store passages; a passage replaces a stored one with the same id.

        Reads the iterable as needed and encodes the next batch while the previous one is written.
        If the call is interrupted (Ctrl-C, an error, a killed process), all passages reported to
        `progress` are stored.

        Args:
            passages: Passages or strings; the id of a string is derived from its text. The items of
                a sequence, such as a list, are all checked before the first is stored; those of
                another iterable batch by batch.
            progress: Called with (stage, done, total) once passages are durable; the stage is
                "adding passages".
            batch: The number of passages to encode at a time.
            durable: Whether each batch, and everything added before it, is flushed to the disk
                before it is reported, so that a power cut does not lose it. By default only a
                killed process does not lose it.

        Returns:
            The id of each passage, in order.

        Raises:
            InputError: An item is neither a passage nor a string, or cannot be stored.
            StorageError: The disk is full or the engine failed.
            ClosedError: The index is closed.
        """
        self._check_open()
        return add_passages(
            passages,
            encode=self._points,
            write=partial(self._store.add, durable=True) if durable else self._store.add,
            batch=batch,
            progress=progress,
            limits=self.limits,
        )

    async def aadd(
        self,
        passages: Iterable[Passage | str],
        *,
        progress: Progress | None = None,
        batch: int = 64,
        durable: bool = False,
    ) -> list[str]:
        """Run `add` in a thread, which also calls `progress`."""
        add = partial(self.add, progress=progress, batch=batch, durable=durable)
        return await in_thread(add, passages)

    def delete(self, ids: Sequence[str] | None = None, *, filter: Where = None) -> int:
        """Delete passages by id, or all that match a filter; return how many were deleted.

        Raises:
            InputError: Neither ids nor a filter is given, or both are.
        """
        self._check_open()
        where = parse_filter(filter, self.limits)
        if (ids is None) == (where is None):
            raise InputError("`delete` needs either ids or a non-empty filter.")
        if where is not None:
            return self._store.delete_where(where)
        return self._store.delete(id_list(ids))

    async def adelete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: Where = None,
    ) -> int:
        """Run `delete` in a thread."""
        return await in_thread(self.delete, ids, filter=filter)

    def get(self, ids: Sequence[str]) -> list[Passage | None]:
        """Return the passages with these ids, in order; None for an unknown id."""
        self._check_open()
        return self._store.get(id_list(ids))

    def count(self, filter: Where = None) -> int:
        """Return the number of passages, or of those that match a filter."""
        self._check_open()
        return self._store.count(parse_filter(filter, self.limits))

    def passages(self, filter: Where = None, *, batch: int = 256) -> Iterator[Passage]:
        """Iterate over all passages that match a filter, in no particular order.

        Fetches `batch` passages at a time, without their vectors, and may or may not see
        concurrent changes.
        """
        self._check_open()
        check_count("batch", batch)
        return self._scan(parse_filter(filter, self.limits), batch)

    def dense_vectors(self, ids: Sequence[str]) -> list[Floats | None]:
        """Return the stored dense vectors `(dim,)`, in order; None for an unknown id."""
        self._check_open()
        return self._store.dense_vectors(id_list(ids))

    def optimize(self) -> None:
        """Merge segments, drop deleted passages and quantize large indexes.

        Call it after a large `add`. It takes minutes for a million passages. Searches wait for it;
        other threads and the event loop do not.
        """
        self._check_open()
        self._store.optimize()

    def close(self) -> None:
        """Close the files; a second call does nothing. The model stays usable."""
        if not self._closed:
            self._closed = True
            self._store.close()

    def __repr__(self) -> str:
        location = self.stored.location
        place = "in memory" if location.engine == "memory" else repr(str(location))
        modes = f"colbert={self.manifest.colbert!r}"
        if self.manifest.context != "passage":
            modes += f", context={self.manifest.context!r}"
        return f"{type(self).__name__}({place}, model={self.model.name!r}, {modes}, {self._size})"

    @property
    def _size(self) -> str:
        """The number of passages, or why it is not known, for `repr`, which must not fail."""
        if self._closed:
            return "closed"
        try:
            count = self._store.count()
            return f"{count:,} passage{'' if count == 1 else 's'}"
        except M3Error as error:
            return type(error).__name__

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return True  # even if the index is empty

    def _points(self, passages: Sequence[Passage]) -> Points:
        return points_of(
            passages,
            self.model,
            colbert=self.manifest.colbert == "stored",
            together=self.manifest.context == "document",
            bm25=self.manifest.bm25,
            analyze=self._analyze,
        )

    def _scan(self, where: Filter | None, batch: int) -> Iterator[Passage]:
        for page in pages(self._store, where, batch):
            self._check_open()
            yield from page

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("This index is closed. Open it again: M3Index.open(path).")


def id_list(ids: Iterable[str] | None, name: str = "ids") -> list[str]:
    """Return ids as a list.

    Raises:
        InputError: They are no list of strings.
    """
    found = list(ids) if isinstance(ids, Iterable) and not isinstance(ids, str) else None
    if found is None or not all(isinstance(i, str) for i in found):
        raise InputError(
            f'`{name}` must be a list of strings such as ["a", "b"], got {shown(ids)}.'
        )
    return found
