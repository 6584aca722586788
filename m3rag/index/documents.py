"""Documents in an index: update them, change their metadata, list them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from m3rag.documents import Passage, as_passage
from m3rag.documents.document import Metadata
from m3rag.errors import InputError
from m3rag.index.add import checked, reporting, write_passages
from m3rag.index.collection import Collection, id_list
from m3rag.index.upsert import Upsert, Upserted
from m3rag.limits import check_count, shown
from m3rag.progress import Progress
from m3rag.stores.base import pages
from m3rag.stores.filters import Where, parse_filter
from m3rag.threads import in_thread

_PAGE = 256  # passages that are changed at a time

NewMetadata = Metadata | Callable[[Passage], Metadata]
"""Metadata to add to passages, or a function that returns all metadata of a passage."""


class DocumentCollection(Collection):
    """A collection that knows which passages belong to a document."""

    def upsert_documents(
        self,
        passages: Iterable[Passage | str],
        *,
        documents: Iterable[str] = (),
        remove: bool = True,
        progress: Progress | None = None,
        batch: int = 64,
        durable: bool = False,
    ) -> Upserted:
        """Bring documents up to date: store what is new, delete what is gone, skip the rest.

        The passages are the new versions of the documents that they belong to, by `document_id`.
        Passages whose text is the stored one are not encoded; what else differs (metadata,
        headings, position) is stored beside their vectors. Stored passages of these documents that
        are not among the new ones are deleted, after all new ones are stored. If the call is
        interrupted, nothing has been deleted; call it again. A passage without `document_id` is a
        document of its own.

        In an index with `context="document"`, a document with a changed text is encoded again as a
        whole. Pass its passages next to each other.

        Args:
            passages: All passages of the documents, as a list or a stream; see `add`.
            documents: Ids of documents that may have no passage left, so that theirs are deleted.
            remove: Whether to delete what the new versions do not have; without it, a document may
                come in several calls.
            progress: Called with (stage, done, total) as for `add`; counts unchanged passages too.
            batch: The number of passages to compare, and to encode, at a time.
            durable: As for `add`.

        Raises:
            InputError: An item is neither a passage nor a string, or cannot be stored.
            StorageError: The disk is full or the engine failed.
            ClosedError: The index is closed.
        """
        self._check_open()
        check_count("batch", batch)
        together = self.manifest.context == "document"
        report = reporting(progress, passages)
        upsert = Upsert(self._store, together=together, batch=batch, report=report)
        upsert.expect(id_list(documents, "documents"))
        remaining = upsert.changed(checked(passages, self.limits))
        write = partial(self._store.add, durable=True) if durable else self._store.add
        write_passages(remaining, encode=self._points, write=write, batch=batch, report=report)
        if remove:
            upsert.remove_old()
        return upsert.finish()

    async def aupsert_documents(
        self,
        passages: Iterable[Passage | str],
        *,
        documents: Iterable[str] = (),
        remove: bool = True,
        progress: Progress | None = None,
        batch: int = 64,
        durable: bool = False,
    ) -> Upserted:
        """Run `upsert_documents` in a thread, which also calls `progress`."""
        upsert = partial(
            self.upsert_documents,
            documents=documents,
            remove=remove,
            progress=progress,
            batch=batch,
            durable=durable,
        )
        return await in_thread(upsert, passages)

    def update_metadata(
        self,
        metadata: NewMetadata,
        ids: Sequence[str] | None = None,
        *,
        filter: Where = None,
    ) -> int:
        """Change the metadata of stored passages, without encoding them; return their number.

        Args:
            metadata: Values that are added to the metadata of each passage, or replace those of the
                same keys; or a function that takes a passage and returns its new metadata.
            ids: The passages to change; unknown ids are ignored.
            filter: Changes the passages that match, instead of `ids`.

        Raises:
            InputError: Neither ids nor a filter is given, or both are; or the metadata cannot be
                stored. Passages are changed 256 at a time; those before the error stay changed.
            StorageError: The disk is full or the engine failed.
        """
        self._check_open()
        where = parse_filter(filter, self.limits)
        if (ids is None) == (where is None):
            raise InputError("`update_metadata` needs either ids or a non-empty filter.")
        if not isinstance(metadata, Mapping) and not callable(metadata):
            raise InputError(f"`metadata` must be a dict or a function, got {shown(metadata)}.")
        if where is not None:
            found = (page for page in pages(self._store, where, _PAGE))
            return sum(self._change(page, metadata) for page in found)
        names = list(dict.fromkeys(id_list(ids)))
        parts = (names[start : start + _PAGE] for start in range(0, len(names), _PAGE))
        return sum(
            self._change([p for p in self._store.get(part) if p is not None], metadata)
            for part in parts
        )

    async def aupdate_metadata(
        self,
        metadata: NewMetadata,
        ids: Sequence[str] | None = None,
        *,
        filter: Where = None,
    ) -> int:
        """Run `update_metadata` in a thread."""
        return await in_thread(self.update_metadata, metadata, ids, filter=filter)

    def rename(self, passages: Mapping[str, Passage]) -> int:
        """Give stored passages other ids, documents and metadata; return how many there were.

        Nothing is encoded: the vectors stay with the texts.

        Args:
            passages: The new passage of each present id, with the same text. A passage that is
                stored under a new id is replaced; unknown present ids are ignored.

        Raises:
            InputError: Two passages would get the same id, a text differs from the stored one, or
                a passage cannot be stored. Nothing is changed then.
            StorageError: The disk is full or the engine failed. Passages are changed 64 at a time;
                those before the error stay changed.
        """
        self._check_open()
        ids = id_list(passages, "passages")
        new = [as_passage(passage, self.limits) for passage in passages.values()]
        [(most, number)] = Counter(passage.id for passage in new).most_common(1) or [("", 0)]
        if number > 1:
            raise InputError(f"{number} passages would get the id {shown(most)}. Choose others.")
        for i, passage, old in zip(ids, new, self._store.get(ids), strict=True):
            if old is not None and old.full_text != passage.full_text:
                raise InputError(
                    f"The new text of passage {shown(i)} is another one, so it must be encoded: "
                    "use add()."
                )
        return self._store.update(new, ids=ids)

    async def arename(self, passages: Mapping[str, Passage]) -> int:
        """Run `rename` in a thread."""
        return await in_thread(self.rename, passages)

    def documents(self, filter: Where = None) -> dict[str, int]:
        """Return the number of passages of each document, by document id; reads all passages.

        Passages without `document_id` are left out.

        Args:
            filter: Count only passages that match.
        """
        self._check_open()
        found: Counter[str] = Counter()
        for page in pages(self._store, parse_filter(filter, self.limits), _PAGE):
            found.update(p.document_id for p in page if p.document_id is not None)
        return dict(sorted(found.items()))

    def _change(self, passages: Sequence[Passage], metadata: NewMetadata) -> int:
        def new(passage: Passage) -> Passage:
            if isinstance(metadata, Mapping):
                changed: Metadata = {**passage.metadata, **metadata}
            else:
                changed = metadata(passage)
            return as_passage(replace(passage, metadata=changed), self.limits)

        return self._store.update([new(passage) for passage in passages])
