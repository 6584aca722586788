"""Add a file that is in no folder, such as an upload, with the files in it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from m3rag.documents import Document, split
from m3rag.documents.document import Metadata
from m3rag.documents.formats.content import ALL_FIELDS
from m3rag.documents.reading import budget_for, format_of
from m3rag.documents.unpacking import unpack
from m3rag.errors import InputError
from m3rag.index.index import M3Index
from m3rag.index.upsert import Upserted
from m3rag.limits import Limits, check_text, shown
from m3rag.progress import Progress

_NAME_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The result of `add_file`.

    Attributes:
        documents: The ids of the documents: that of the file, if it has text, and of files in it.
        failed: Why a file in it could not be read, by the id that its document would have.
        incomplete: What the passages of a document lack, such as pages that are images.
        passages: What was done to the passages.
    """

    documents: list[str]
    failed: dict[str, str] = field(default_factory=dict)
    incomplete: dict[str, str] = field(default_factory=dict)
    passages: Upserted = field(default_factory=Upserted)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values, with numbers of passages."""
        kinds = ("added", "replaced", "unchanged", "removed")
        return {
            "documents": self.documents,
            "failed": self.failed,
            "incomplete": self.incomplete,
            "passages": {kind: len(getattr(self.passages, kind)) for kind in kinds},
        }


def checked_name(name: object) -> str:
    """Return the name of an uploaded file, which becomes the id of its document.

    Raises:
        InputError: It is none, or leads out of a folder.
        DocumentError: m3rag does not read files of its kind.
    """
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"The file needs a name such as report.pdf, got {shown(name)}.")
    check_text("The name of the file", name, _NAME_CHARACTERS, "id_characters")
    parts = name.split("/")
    if "\\" in name or not name.isprintable() or any(part in ("", ".", "..") for part in parts):
        raise InputError(
            f"{shown(name)} is no name for a document: it leads elsewhere, or has control "
            "characters. Use one such as report.pdf, or guides/report.pdf."
        )
    format_of(name)
    return name


def add_file(
    index: M3Index,
    data: bytes,
    name: str,
    *,
    metadata: Metadata | None = None,
    limits: Limits | None = None,
    durable: bool = False,
    progress: Progress | None = None,
) -> Uploaded:
    """Add the documents of a file, or replace those of the file of the same name.

    Args:
        index: The index.
        data: The content.
        name: The name, whose suffix says the format; it becomes the id of the document. That of a
            file in it is the name, "/" and its own.
        metadata: JSON values to store with each passage; they replace those that m3rag finds.
        limits: How large the file may be, and how long reading may take; those of the index by
            default.
        durable: Whether a power cut must not lose it.
        progress: Called with (stage, done, total), in passages, as they become durable.

    Raises:
        InputError: The name is no name of a file, or the metadata cannot be stored.
        DocumentError: The file cannot be read, has another format, or has no text.
        StorageError: The disk is full or the engine failed.
    """
    name = checked_name(name)
    budget = budget_for(limits or index.limits, ALL_FIELDS, None)
    found = unpack(data, format_of(name), name, name, budget)
    tokens = index.model.passage_tokens
    passages = [
        passage
        for document in found.documents
        for passage in split(_with(document, metadata), index.model.tokenizer, max_tokens=tokens)
    ]
    # What an earlier version had and this one has not, such as an attachment, is deleted.
    inner = index.documents({"$document_id": {"prefix": f"{name}/"}})
    old = [name, *(other for other in inner if other not in found.failed)]
    done = index.upsert_documents(passages, documents=old, progress=progress, durable=durable)
    ids = [document.id for document in found.documents]
    incomplete = {one.id: " ".join(one.notes) for one in found.documents if one.notes}
    return Uploaded(ids, found.failed, incomplete, done)


def _with(document: Document, metadata: Metadata | None) -> Document:
    return replace(document, metadata={**document.metadata, **(metadata or {})})
