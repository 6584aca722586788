"""Keeping an index equal to a folder of documents.

What the index knows of a document is read from its passages: each carries the stamp of the file it
comes from and how many passages that file gave. A document is complete when all of them are there
with one stamp, so an interrupted run resumes by itself and there is no second record to go stale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from m3rag.documents import Document, Passage, find, read, split
from m3rag.documents.splitting import SpanTokenizer
from m3rag.errors import DocumentError, InputError
from m3rag.index.index import M3Index
from m3rag.progress import Progress, silent


@dataclass(slots=True)
class Changes:
    """What became of the documents of a folder, by document id."""

    added: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # document id: why
    passages: int = 0  # encoded and stored by this run


@dataclass(slots=True)
class _Known:
    """A document as the index has it."""

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
    max_tokens: int = 512,
    overlap: int = 64,
    progress: Progress | None = None,
) -> Changes:
    """Add new documents, replace changed ones, remove deleted ones, skip the rest.

    Documents are named `<folder name>/<path in the folder>`; only documents of this folder are ever
    removed, so several folders share an index as long as their names differ.

    Args:
        index: where to.
        folder: what to index, with all folders below it.
        tokenizer: the model's.
        max_tokens: see `m3rag.split`; another value indexes all documents again.
        overlap: see `m3rag.split`.
        progress: Called whenever passages are durable, with two stages: "indexing", in bytes of
            the files to index, and "passages", whose total is not known in advance.

    Raises:
        DocumentError: there is no such folder, or no document in it.
        InputError: max_tokens or overlap is out of range, or the index has another folder of the
            same name.
    """
    # A limit that is out of range is the caller's error, not one of every document.
    split(Document("", ""), tokenizer, max_tokens=max_tokens, overlap=overlap)
    folder = Path(folder).expanduser().resolve()
    files = {
        f"{folder.name}/{file.relative_to(folder).as_posix()}": file
        for file in documents_in(folder)
    }
    root = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    known = _catalog(index, folder.name, root)
    changes = Changes()
    todo: dict[str, str] = {}  # document id: stamp
    for document, file in files.items():
        stamp = _stamp(file, max_tokens, overlap)
        if document in known and known[document].complete(stamp):
            changes.unchanged.append(document)
        else:
            todo[document] = stamp
    for document in known.keys() - files.keys():
        index.delete(filter={"document_id": document})
        changes.removed.append(document)

    run = _Run(root, files, todo, known, changes, progress or silent)
    index.add(run.passages(tokenizer, max_tokens, overlap), progress=run.stored)
    run.finish(index)
    return changes


def documents_in(folder: str | Path) -> list[Path]:
    """The documents below a folder.

    Raises:
        DocumentError: there is no such folder, or no document in it.
    """
    files = find(folder)
    if not files:
        raise DocumentError(f"{folder} holds no .md, .txt, .html, .pdf or .docx file to index.")
    return files


@dataclass(slots=True)
class _Run:
    """One pass over the documents that are new or changed."""

    root: str  # a hash of the folder's path: an index tells folders apart without keeping paths
    files: dict[str, Path]
    todo: dict[str, str]
    known: dict[str, _Known]
    changes: Changes
    progress: Progress
    sizes: dict[str, int] = field(init=False)  # bytes of each file to index
    weights: list[float] = field(default_factory=list)  # bytes of a file behind each passage
    fresh: dict[str, set[str]] = field(default_factory=dict)  # document id: ids of its passages
    bytes_done: float = 0.0

    def __post_init__(self) -> None:
        self.sizes = {document: self.files[document].stat().st_size for document in self.todo}

    def passages(
        self, tokenizer: SpanTokenizer, max_tokens: int, overlap: int
    ) -> Iterator[Passage]:
        for document, stamp in self.todo.items():
            try:
                text = read(self.files[document], id=document)
                passages = split(text, tokenizer, max_tokens=max_tokens, overlap=overlap)
            except (DocumentError, InputError) as error:
                self.changes.failed[document] = str(error)
                self.bytes_done += self.sizes[document]
                continue
            self.fresh[document] = {passage.id for passage in passages}
            for passage in passages:
                self.weights.append(self.sizes[document] / len(passages))
                marks = {"source": document, "root": self.root, "stamp": stamp}
                metadata = {**passage.metadata, **marks, "passages": len(passages)}
                yield replace(passage, metadata=metadata)

    def stored(self, _stage: str, stored: int, _total: int | None) -> None:
        """Report passages that have become durable; `stored` counts all of this run."""
        self.bytes_done += sum(self.weights[self.changes.passages : stored])
        self.changes.passages = stored
        self.progress("indexing", round(self.bytes_done), sum(self.sizes.values()))
        self.progress("passages", stored, None)

    def finish(self, index: M3Index) -> None:
        """Drop what a changed document has no more, now that its new passages are durable."""
        for document, ids in self.fresh.items():
            if document not in self.known:
                self.changes.added.append(document)
                continue
            self.changes.replaced.append(document)
            if stale := self.known[document].ids - ids:
                index.delete(sorted(stale))


def _catalog(index: M3Index, folder: str, root: str) -> dict[str, _Known]:
    """The documents of a folder that the index has passages of."""
    known: dict[str, _Known] = {}
    for passage in index.passages():
        if passage.document_id is None or not passage.document_id.startswith(f"{folder}/"):
            continue
        if passage.metadata.get("root") != root:
            raise InputError(
                f"The index has another folder {folder!r}, from another place (passage "
                f"{passage.id!r}). Rename this one, or if it is the same and was moved, delete the "
                f"old passages first: filter root={passage.metadata.get('root')}."
            )
        document = known.setdefault(passage.document_id, _Known())
        document.ids.add(passage.id)
        document.stamps.add(str(passage.metadata.get("stamp")))
        document.expected = int(str(passage.metadata.get("passages", 0)))
    return known


def _stamp(file: Path, max_tokens: int, overlap: int) -> str:
    """Changes with the file's content and with the way it is split."""
    try:
        content = file.read_bytes()
    except OSError:
        return "unreadable"  # reading it will say why
    return hashlib.sha256(f"{max_tokens} {overlap} ".encode() + content).hexdigest()[:16]
