"""Bring the passages of documents up to date: encode what changed, delete what is gone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice

from m3rag.documents import Passage, passage_to_dict
from m3rag.stores.base import Store, pages
from m3rag.stores.filters import In

_DOCUMENTS = 256  # whose stored passages are counted at a time
_PAGE = 256  # passages that are read at a time


@dataclass(frozen=True, slots=True)
class Upserted:
    """The result of `M3Index.upsert_documents`, as ids of passages.

    Attributes:
        ids: The id of each passage that was given, in order.
        added: New passages.
        replaced: Passages that differed from the stored ones. They were encoded only if their text
            differed.
        unchanged: Passages that were stored already.
        removed: Stored passages that the new version of their document no longer has.
    """

    ids: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


class Upsert:
    """One update of the documents that passages belong to.

    Nothing is deleted before all new passages are stored. So an update that was interrupted leaves
    old passages beside new ones, and the same update finishes it.

    Args:
        store: Holds the old passages, and gets the new ones.
        together: Whether the passages of a document are encoded together, so that a change of one
            changes the vectors of the others.
        batch: The number of passages that are compared at a time.
        report: Called with the number of passages that needed no encoding.

    Attributes:
        result: What was done so far.
    """

    def __init__(
        self, store: Store, *, together: bool, batch: int, report: Callable[[int], None]
    ) -> None:
        self.result = Upserted()
        self._store = store
        self._together = together
        self._batch = batch
        self._report = report
        self._new: dict[str, set[str]] = {}  # document id: ids of its passages
        self._changed: set[str] = set()  # ids that this update has passed on

    def expect(self, documents: Iterable[str]) -> None:
        """Note documents whose stored passages are out of date, even if no passage follows."""
        for document in documents:
            self._new.setdefault(document, set())

    def changed(self, passages: Iterator[Passage]) -> Iterator[Passage]:
        """Yield the passages that must be encoded, and note all of them."""
        groups = self._documents(passages) if self._together else self._batches(passages)
        for group in groups:
            stored = self._stored(group)
            whole = self._together and not _same_texts(group, stored)
            renewed: dict[str, Passage] = {}  # whose texts, and so vectors, are the stored ones
            for passage in group:
                old = renewed.get(passage.id, stored.get(passage.id))
                again = passage.id in self._changed or (whole and passage.document_id is not None)
                self.result.ids.append(passage.id)
                if passage.document_id is not None:
                    self._new.setdefault(passage.document_id, set()).add(passage.id)
                if old is not None and not again and same(old, passage):
                    self.result.unchanged.append(passage.id)
                    self._report(1)
                    continue
                (self.result.added if old is None else self.result.replaced).append(passage.id)
                if old is not None and not again and old.full_text == passage.full_text:
                    renewed[passage.id] = passage
                    continue
                renewed.pop(passage.id, None)
                self._changed.add(passage.id)
                yield passage
            self._store.update([*renewed.values()])
            self._report(len(renewed))

    def remove_old(self) -> None:
        """Delete the stored passages of the noted documents that no new version has."""
        documents = list(self._new)
        for start in range(0, len(documents), _DOCUMENTS):
            part = documents[start : start + _DOCUMENTS]
            where = In("$document_id", tuple(part))
            if self._store.count(where) == sum(len(self._new[document]) for document in part):
                continue
            for page in pages(self._store, where, _PAGE):
                old = [p.id for p in page if p.id not in self._new.get(p.document_id or "", {p.id})]
                if old:
                    self._store.delete(old)
                    self.result.removed.extend(old)

    def finish(self) -> Upserted:
        """Return the result, in which an id that was given several times is only once."""
        added = dict.fromkeys(self.result.added)
        replaced = dict.fromkeys(i for i in self.result.replaced if i not in added)
        unchanged = dict.fromkeys(
            i for i in self.result.unchanged if i not in added and i not in replaced
        )
        return replace(self.result, added=[*added], replaced=[*replaced], unchanged=[*unchanged])

    def _batches(self, passages: Iterator[Passage]) -> Iterator[list[Passage]]:
        while chunk := list(islice(passages, self._batch)):
            yield chunk

    def _documents(self, passages: Iterator[Passage]) -> Iterator[list[Passage]]:
        """Yield the passages of a document that follow each other, or some without a document."""
        for document, group in groupby(passages, key=lambda passage: passage.document_id):
            if document is None:
                yield from self._batches(group)
            else:
                yield list(group)

    def _stored(self, group: Sequence[Passage]) -> dict[str, Passage]:
        """Return the stored passages with the ids of a group, and the rest of its document."""
        document = group[0].document_id
        found = self._store.get([passage.id for passage in group])
        stored = {passage.id: passage for passage in found if passage is not None}
        if self._together and document is not None:
            for page in pages(self._store, In("$document_id", (document,)), _PAGE):
                stored |= {passage.id: passage for passage in page}
        return stored


def same(first: Passage, second: Passage) -> bool:
    """Return whether two passages are equal as JSON, where 1, 1.0 and true differ."""
    return first.text == second.text and _content(first) == _content(second)


def _content(passage: Passage) -> str:
    return json.dumps(passage_to_dict(passage), sort_keys=True)


def _same_texts(group: Sequence[Passage], stored: dict[str, Passage]) -> bool:
    """Return whether a document has the same texts in the same order, as far as that is known."""
    if {p.id for p in group} != stored.keys():
        return False
    if any(stored[p.id].full_text != p.full_text for p in group):
        return False
    starts = [stored[p.id].start or 0 for p in group]
    return starts == sorted(starts)
