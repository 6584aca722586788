"""Keep an index in step with a folder of documents.

The state of a document is stored in its passages: each holds a hash of the file (the stamp) and
the number of passages of the file. A document is complete if all its passages are stored with the
same stamp. An interrupted run therefore resumes by itself, and no second record can go stale.

What cannot be read is reported and stops nothing. The passages that the index has of it stay: a
folder that is not mounted now, or a file that is being replaced, is no deleted document.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from m3rag.documents import Document, Listing, Passage, check_passage, scan, split
from m3rag.documents.ahead import read_ahead
from m3rag.documents.formats.content import Fields
from m3rag.documents.reading import checked_encoding, format_of
from m3rag.documents.regular import visible
from m3rag.documents.splitting import SpanTokenizer, usual_overlap
from m3rag.errors import DocumentError, InputError, MissingExtraError
from m3rag.index.index import M3Index
from m3rag.index.source import Source
from m3rag.limits import DEFAULT_LIMITS, Limits
from m3rag.progress import Progress, silent

_Value = TypeVar("_Value")
_ALL_FIELDS = Fields()
_ITSELF = ""  # the name in its listing of a single file
_NAMED = 3  # entries that the error for a folder without documents names


@dataclass(slots=True)
class Changes:
    """The result of a sync, by document id.

    Attributes:
        added: New documents.
        replaced: Documents that changed.
        unchanged: Documents that were complete already.
        removed: Documents that are no longer in the folder.
        failed: Why a document, or a folder (its id ends with "/"), could not be read. The passages
            that the index has of it are kept.
        skipped: Why an entry with the name of a document is none: a pipe, a device, a link that is
            not followed.
        incomplete: What the passages of a document lack, such as pages that are images.
        passages: The number of passages encoded and stored by this run.
    """

    added: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    incomplete: dict[str, str] = field(default_factory=dict)
    passages: int = 0


@dataclass(slots=True)
class _Known:
    """The stored passages of a document."""

    ids: set[str] = field(default_factory=set)
    stamps: set[str] = field(default_factory=set)
    expected: int = 0

    def complete(self, stamp: str) -> bool:
        return self.stamps == {stamp} and len(self.ids) == self.expected


def sync(
    index: M3Index,
    folder: str | Path,
    tokenizer: SpanTokenizer,
    *,
    max_tokens: int | None = None,
    overlap: int | None = None,
    follow_links: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    fields: Fields = _ALL_FIELDS,
    encoding: str | None = None,
    progress: Progress | None = None,
) -> Changes:
    """Add new documents to an index, replace changed ones, remove deleted ones, skip the rest.

    Document ids are `<folder name>/<path in the folder>`. Only documents of this folder are ever
    removed, so several folders can share an index as long as their names differ. A file in a file,
    such as an attachment, is a document with the id of that file, "/" and its name; the changes
    count the outer file only. A single file has its name as its id.

    Args:
        index: The index to update.
        folder: The folder of documents, including its subfolders; or one file.
        tokenizer: The model's tokenizer.
        max_tokens: See `m3rag.split`; the length that suits the model by default. A different
            value indexes all documents again.
        overlap: See `m3rag.split`; a different value indexes all documents again.
        follow_links: Whether to follow symbolic links to folders, and to files outside the folder.
        limits: How large a document may be, and how long reading it may take.
        fields: Which fields of the records of .csv, .json and .jsonl files are read; other ones
            index all documents again.
        encoding: See `m3rag.read`; another one indexes all documents again.
        progress: Called with (stage, done, total) once passages are durable. The stages are
            "indexing", in bytes of the files to index, and "passages", with the total None.

    Raises:
        DocumentError: The folder does not exist, cannot be listed or contains no documents.
        InputError: `max_tokens` or `overlap` is out of range, the folder's name is not Unicode, or
            the index holds a different folder of the same name.
    """
    max_tokens = index.model.passage_tokens if max_tokens is None else max_tokens
    overlap = usual_overlap(max_tokens) if overlap is None else overlap
    split(Document("", ""), tokenizer, max_tokens=max_tokens, overlap=overlap)  # errors only once
    folder = _named_folder(folder)
    listing = _documents(folder, follow_links=follow_links, limits=limits)
    root = hashlib.sha256(str(folder).encode(errors="surrogateescape")).hexdigest()[:12]
    known = _catalog(index, folder.name, root)
    changes = Changes(
        failed=_named(folder.name, listing.failed), skipped=_named(folder.name, listing.skipped)
    )
    within = None if follow_links or _ITSELF in listing.files else folder
    settings = f"{max_tokens} {overlap} " + (f"{fields} " if fields != _ALL_FIELDS else "")
    settings += f"{checked_encoding(encoding)} " if encoding is not None else ""
    files = _named(folder.name, listing.files)
    source = Source(files, within, limits, fields, encoding, settings)
    todo: dict[str, int] = {}  # document id: bytes of its file
    for document in source.files:
        stamp, size = source.stamp(document)
        if document in known and known[document].complete(stamp):
            changes.unchanged.append(document)
        else:
            todo[document] = size
    for document in sorted(known.keys() - source.files.keys()):
        if not _failed(document, changes.failed):
            index.delete(sorted(known[document].ids))
            changes.removed.append(document)

    run = _Run(root, source, todo, known, changes, progress or silent)
    with closing(run.passages(tokenizer, max_tokens, overlap)) as passages:
        index.add(passages, progress=run.stored)
    run.finish(index)
    return changes


def _named_folder(folder: str | Path) -> Path:
    folder = Path(folder).expanduser().resolve()
    if visible(folder.name) != folder.name:
        raise InputError(
            f"The name of {visible(folder)} is not UTF-8, but it starts the ids of its documents. "
            "Rename it."
        )
    return folder


def documents_in(
    folder: str | Path, *, follow_links: bool = False, limits: Limits = DEFAULT_LIMITS
) -> list[Path]:
    """Return the files of all documents in a folder and its subfolders.

    Raises:
        DocumentError: The folder does not exist, cannot be listed or contains no documents.
    """
    listing = _documents(Path(folder), follow_links=follow_links, limits=limits)
    return [listing.root / name for name in listing.files]


def _documents(folder: Path, *, follow_links: bool, limits: Limits) -> Listing:
    if folder.is_file():
        format_of(folder.name)
        return Listing(folder, {_ITSELF: folder})
    listing = scan(folder, follow_links=follow_links, limits=limits)
    if not listing.files:
        others = {**listing.failed, **listing.skipped}
        reasons = "".join(f" {name}: {others[name]}" for name in sorted(others)[:_NAMED])
        raise DocumentError(
            f"{visible(folder)} contains no .md, .pdf, .docx or other file to index.{reasons}"
        )
    return listing


def _named(folder: str, entries: dict[str, _Value]) -> dict[str, _Value]:
    """Return entries of a folder by document id."""
    return {f"{folder}/{name}" if name else folder: value for name, value in entries.items()}


def _failed(document: str, failed: dict[str, str]) -> bool:
    """Return whether a document, or a folder above it, could not be read."""
    parts = document.split("/")
    above = ("/".join(parts[:i]) + "/" for i in range(1, len(parts)))
    # A link to a folder that leads to nothing now is reported without a "/" at its end.
    return document in failed or any(name in failed or name[:-1] in failed for name in above)


class _Read(NamedTuple):
    """What a file has: passages, and by document id what they lack and what cannot be read."""

    passages: list[Passage]
    notes: dict[str, str]
    failed: dict[str, str]

    def bytes(self) -> int:
        """Return how much memory the texts take."""
        return sum(sys.getsizeof(passage.text) for passage in self.passages)


@dataclass(slots=True)
class _Run:
    """One pass over the documents that are new or changed."""

    root: str  # a hash of the folder's path, stored in place of the path itself
    source: Source
    todo: dict[str, int]  # document id: bytes of its file
    known: dict[str, _Known]
    changes: Changes
    progress: Progress
    weights: list[float] = field(default_factory=list)  # share of its file in bytes, by passage
    fresh: dict[str, set[str]] = field(default_factory=dict)  # document id: ids of its passages
    bytes_done: float = 0.0

    def passages(
        self, tokenizer: SpanTokenizer, max_tokens: int, overlap: int
    ) -> Generator[Passage, None, None]:
        """Yield the passages of all documents; the next ones are read meanwhile."""
        read = partial(self._read, tokenizer, max_tokens, overlap)
        with closing(read_ahead(read, self.todo, _Read.bytes)) as files:
            for document, reading in files:
                size = self.todo[document]
                try:
                    found = reading.result()
                except (DocumentError, InputError, MissingExtraError) as error:
                    self.changes.failed[document] = str(error)
                    self.bytes_done += size
                    continue
                self.changes.failed |= found.failed
                self.changes.incomplete |= found.notes
                self.fresh[document] = {passage.id for passage in found.passages}
                for passage in found.passages:
                    self.weights.append(size / len(found.passages))
                    yield passage

    def _read(
        self, tokenizer: SpanTokenizer, max_tokens: int, overlap: int, document: str
    ) -> _Read:
        """Read and split a document, with the files in it."""
        unpacked, stamp = self.source.read(document)
        marks = {"source": document, "root": self.root, "stamp": stamp}
        passages: list[Passage] = []
        for text in unpacked.documents:
            text = replace(text, metadata={**text.metadata, **marks})
            passages += split(text, tokenizer, max_tokens=max_tokens, overlap=overlap)
        number = {"passages": len(passages)}
        passages = [replace(p, metadata={**p.metadata, **number}) for p in passages]
        for passage in passages:
            check_passage(passage, self.source.limits)
        notes = {text.id: " ".join(text.notes) for text in unpacked.documents if text.notes}
        return _Read(passages, notes, unpacked.failed)

    def stored(self, _stage: str, stored: int, _total: int | None) -> None:
        """Report passages that are now durable; `stored` counts all passages of this run."""
        self.bytes_done += sum(self.weights[self.changes.passages : stored])
        self.changes.passages = stored
        self.progress("indexing", round(self.bytes_done), sum(self.todo.values()))
        self.progress("passages", stored, None)

    def finish(self, index: M3Index) -> None:
        """Delete stale passages of changed documents, once their new passages are durable."""
        for document, ids in self.fresh.items():
            if document not in self.known:
                self.changes.added.append(document)
                continue
            self.changes.replaced.append(document)
            if stale := self.known[document].ids - ids:
                index.delete(sorted(stale))


def _catalog(index: M3Index, folder: str, root: str) -> dict[str, _Known]:
    """Return the files of a folder that the index has passages of, each with those passages."""
    known: dict[str, _Known] = {}
    for passage in index.passages():
        if not f"{passage.document_id}/".startswith(f"{folder}/"):
            continue
        if passage.metadata.get("root") != root:
            raise InputError(
                f"The index already holds another folder or file named {folder!r} (passage "
                f"{passage.id!r}). Rename this one. If it is the same and was moved, "
                f"delete its old passages first: filter root={passage.metadata.get('root')}."
            )
        document = known.setdefault(str(passage.metadata.get("source")), _Known())
        document.ids.add(passage.id)
        document.stamps.add(str(passage.metadata.get("stamp")))
        document.expected = int(str(passage.metadata.get("passages", 0)))
    return known
