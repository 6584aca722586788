"""One pass over the documents that are new or changed: read, split, encode, store."""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from m3rag.documents import Passage, check_passage, split
from m3rag.documents.ahead import read_ahead
from m3rag.documents.splitting import SpanTokenizer
from m3rag.errors import DocumentError, InputError, MissingExtraError
from m3rag.index.changes import Changes
from m3rag.index.index import M3Index
from m3rag.index.source import Source
from m3rag.index.stored_files import StoredFile, with_copies
from m3rag.progress import Progress


class _Read(NamedTuple):
    """What a file has: passages, and by document id what they lack and what cannot be read."""

    passages: list[Passage]
    notes: dict[str, str]
    failed: dict[str, str]

    def bytes(self) -> int:
        """Return how much memory the texts take."""
        return sum(sys.getsizeof(passage.text) for passage in self.passages)


@dataclass(slots=True)
class Run:
    """The documents of a pass, and how far it is.

    Attributes:
        root: A hash of the folder's path, stored in place of the path itself.
        source: Reads the documents.
        sizes: The bytes of the file of each document.
        copies: The other files with the content of a document.
        changes: What was done and found so far.
        progress: Receives the reports.
    """

    root: str
    source: Source
    sizes: Mapping[str, int]
    copies: Mapping[str, list[str]]
    changes: Changes
    progress: Progress
    _weights: list[float] = field(default_factory=list)  # share of its file in bytes, by passage
    _fresh: dict[str, set[str]] = field(default_factory=dict)  # document id: ids of its passages
    _bytes_done: float = 0.0

    def passages(
        self, tokenizer: SpanTokenizer, max_tokens: int, overlap: int
    ) -> Generator[Passage, None, None]:
        """Yield the passages of all documents; the next ones are read meanwhile."""
        read = partial(self._read, tokenizer, max_tokens, overlap)
        with closing(read_ahead(read, self.sizes, _Read.bytes)) as files:
            for document, reading in files:
                size = self.sizes[document]
                try:
                    found = reading.result()
                except (DocumentError, InputError, MissingExtraError) as error:
                    self._fail(document, str(error))
                    self._bytes_done += size
                    continue
                self.changes.failed |= found.failed
                self.changes.incomplete |= found.notes
                self._fresh[document] = {passage.id for passage in found.passages}
                for passage in found.passages:
                    self._weights.append(size / len(found.passages))
                    yield passage

    def _fail(self, document: str, reason: str) -> None:
        self.changes.failed[document] = reason
        for copy in self.copies[document]:
            self.changes.failed[copy] = f"It has the content of {document}, which cannot be read."

    def _read(
        self, tokenizer: SpanTokenizer, max_tokens: int, overlap: int, document: str
    ) -> _Read:
        """Read and split a document, with the files in it."""
        unpacked, stamp = self.source.read(document)
        marks = {"source": document, "root": self.root, "stamp": stamp}
        passages: list[Passage] = []
        for text in unpacked.documents:
            metadata = with_copies({**text.metadata, **marks}, self.copies[document])
            text = replace(text, metadata=metadata)
            passages += split(text, tokenizer, max_tokens=max_tokens, overlap=overlap)
        number = {"passages": len(passages)}
        passages = [replace(p, metadata={**p.metadata, **number}) for p in passages]
        for passage in passages:
            check_passage(passage, self.source.budget.limits)
        notes = {text.id: " ".join(text.notes) for text in unpacked.documents if text.notes}
        return _Read(passages, notes, unpacked.failed)

    def stored(self, _stage: str, stored: int, _total: int | None) -> None:
        """Report passages that are now durable; `stored` counts all passages of this run."""
        self._bytes_done += sum(self._weights[self.changes.passages : stored])
        self.changes.passages = stored
        self.progress("indexing", round(self._bytes_done), sum(self.sizes.values()))
        self.progress("passages", stored, None)

    def finish(self, index: M3Index, stored: Mapping[str, StoredFile], before: set[str]) -> None:
        """Delete what the new passages replace, now that they are durable.

        Args:
            index: The index.
            stored: What it had of the folder, without what moved.
            before: The documents that the folder had.
        """
        for document, ids in self._fresh.items():
            changed = self.changes.replaced if document in before else self.changes.added
            changed.append(document)
            names = [name for name in (document, *self.copies[document]) if name in stored]
            old = {passage for name in names for passage in stored[name].ids}
            if stale := old - ids:
                index.delete(sorted(stale))
            self.changes.duplicates |= dict.fromkeys(self.copies[document], document)
