"""Keep an index in step with a folder of documents.

The state of a document is stored in its passages: each holds a hash of the file (the stamp) and
the number of passages of the file. A document is complete if all its passages are stored with the
same stamp. An interrupted run therefore resumes by itself, and no second record can go stale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from m3rag.documents import Document, Passage, find, read, split
from m3rag.documents.splitting import SpanTokenizer
from m3rag.errors import DocumentError, InputError, MissingExtraError
from m3rag.index.index import M3Index
from m3rag.progress import Progress, silent


@dataclass(slots=True)
class Changes:
    """The result of a sync, by document id."""

    added: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # document id: error message
    passages: int = 0  # the number encoded and stored by this run


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
    max_tokens: int = 512,
    overlap: int = 64,
    progress: Progress | None = None,
) -> Changes:
    """Add new documents to an index, replace changed ones, remove deleted ones, skip the rest.

    Document ids are `<folder name>/<path in the folder>`. Only documents of this folder are ever
    removed, so several folders can share an index as long as their names differ.

    Args:
        index: The index to update.
        folder: The folder of documents, including its subfolders.
        tokenizer: The model's tokenizer.
        max_tokens: See `m3rag.split`; a different value indexes all documents again.
        overlap: See `m3rag.split`; a different value indexes all documents again.
        progress: Called with (stage, done, total) once passages are durable. The stages are
            "indexing", in bytes of the files to index, and "passages", with the total None.

    Raises:
        DocumentError: The folder does not exist or contains no documents.
        InputError: `max_tokens` or `overlap` is out of range, or the index holds a different
            folder of the same name.
    """
    # Report limits that are out of range once, not for every document.
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
    """Return the files of all documents in a folder and its subfolders.

    Raises:
        DocumentError: The folder does not exist or contains no documents.
    """
    files = find(folder)
    if not files:
        raise DocumentError(f"{folder} contains no .md, .txt, .html, .pdf or .docx file to index.")
    return files


@dataclass(slots=True)
class _Run:
    """One pass over the documents that are new or changed."""

    root: str  # a hash of the folder's path, stored in place of the path itself
    files: dict[str, Path]
    todo: dict[str, str]
    known: dict[str, _Known]
    changes: Changes
    progress: Progress
    sizes: dict[str, int] = field(init=False)  # bytes of each file to index
    weights: list[float] = field(default_factory=list)  # share of its file in bytes, by passage
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
            except (DocumentError, InputError, MissingExtraError) as error:
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
        """Report passages that are now durable; `stored` counts all passages of this run."""
        self.bytes_done += sum(self.weights[self.changes.passages : stored])
        self.changes.passages = stored
        self.progress("indexing", round(self.bytes_done), sum(self.sizes.values()))
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
    """Return the documents of a folder that the index has passages of."""
    known: dict[str, _Known] = {}
    for passage in index.passages():
        if passage.document_id is None or not passage.document_id.startswith(f"{folder}/"):
            continue
        if passage.metadata.get("root") != root:
            raise InputError(
                f"The index already holds another folder named {folder!r} (passage "
                f"{passage.id!r}). Rename this folder. If it is the same folder and was moved, "
                f"delete its old passages first: filter root={passage.metadata.get('root')}."
            )
        document = known.setdefault(passage.document_id, _Known())
        document.ids.add(passage.id)
        document.stamps.add(str(passage.metadata.get("stamp")))
        document.expected = int(str(passage.metadata.get("passages", 0)))
    return known


def _stamp(file: Path, max_tokens: int, overlap: int) -> str:
    """Return a hash of the file's content and of the settings for splitting."""
    try:
        content = file.read_bytes()
    except OSError:
        return "unreadable"  # `read` reports the reason
    return hashlib.sha256(f"{max_tokens} {overlap} ".encode() + content).hexdigest()[:16]
