"""The documents of an index: list them, put one together from its passages, add one as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from m3rag.documents import Passage, split
from m3rag.documents.document import Metadata
from m3rag.documents.formats.content import ALL_FIELDS
from m3rag.documents.reading import budget_for, format_of
from m3rag.documents.unpacking import unpack
from m3rag.errors import InputError
from m3rag.index.documents import DocumentCollection
from m3rag.index.expand import GAP, added_text
from m3rag.index.index import M3Index
from m3rag.index.upsert import Upserted
from m3rag.limits import DEFAULT_LIMITS, check_count, check_text, shown
from m3rag.progress import Progress
from m3rag.stores.filters import parse_filter

_PAGE = frozenset({"page", "last_page", "page_label"})  # of a passage
_OMITTED = "\n\n…\n\n"  # stands for text between two passages that the index does not have


@dataclass(frozen=True, slots=True)
class ListedDocument:
    """A document in a list.

    Attributes:
        id: The document's id; that of the passage if it belongs to no document.
        title: The "title" of its metadata, or its id.
        passages: The number of its passages.
        metadata: The metadata of its first passage, without its page.
    """

    id: str
    title: str
    passages: int
    metadata: Metadata

    def to_dict(self) -> dict[str, Any]:
        """Return the document as JSON values."""
        return {
            "id": self.id,
            "title": self.title,
            "passages": self.passages,
            "metadata": dict(self.metadata),
        }


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """A page of a list of documents.

    Attributes:
        documents: The documents.
        next: What to pass as `after` for the next page; None if this is the last one.
    """

    documents: list[ListedDocument]
    next: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the page as JSON values."""
        return {"documents": [one.to_dict() for one in self.documents], "next": self.next}


@dataclass(frozen=True, slots=True)
class WholeDocument:
    """A document as its passages show it.

    Attributes:
        id: As in `ListedDocument`.
        title: As in `ListedDocument`.
        metadata: What the metadata of all its passages have in common.
        passages: The passages, at least one, in the order of the text.
    """

    id: str
    title: str
    metadata: Metadata
    passages: Sequence[Passage]

    @property
    def text(self) -> str:
        """The text of all passages; see `joined`."""
        return joined(self.passages)

    def position(self, passage: str) -> int:
        """Return which of the passages has an id, counted from 0.

        Raises:
            InputError: None has it.
        """
        for i, one in enumerate(self.passages):
            if one.id == passage:
                return i
        raise InputError(f"The document {shown(self.id)} has no passage {shown(passage)}.")

    def to_dict(self) -> dict[str, Any]:
        """Return the document as JSON values.

        "adds" of a passage is what it adds to the text of the passages before it.
        """
        return {
            "id": self.id,
            "title": self.title,
            "metadata": dict(self.metadata),
            "text": self.text,
            "passages": [
                {
                    "id": one.id,
                    "text": one.text,
                    "adds": adds,
                    "start": one.start,
                    "end": one.end,
                    "page": one.metadata.get("page"),
                    "headings": list(one.headings),
                }
                for one, adds in zip(self.passages, pieces(self.passages), strict=True)
            ],
        }


def documents(
    index: DocumentCollection, *, after: str | None = None, limit: int = 100
) -> DocumentPage:
    """Return a page of the documents; all pages together have each document once.

    A passage that belongs to no document is one of its own. A page reads only the passages of its
    own documents, in the order of the store, which is that of the ids in m3rag's own stores.

    Args:
        index: The index.
        after: None for the first page, then `next` of the page before.
        limit: The most documents on a page; there may be fewer.

    Raises:
        InputError: An argument is of a wrong kind or out of range.
    """
    check_count("limit", limit)
    if after is not None and not isinstance(after, str):
        raise InputError(f"`after` must be `next` of another page, got {shown(after)}.")
    store = index.stored.store
    seen: set[str] = set()
    listed: list[ListedDocument] = []
    while len(listed) < limit:
        # Each passage begins one document at most, so there cannot be too many.
        page, after = store.scan(None, after, limit - len(listed))
        for passage in page:
            name = passage.document_id
            if name is None:
                listed.append(_listed(passage.id, passage, 1))
            elif name not in seen:
                seen.add(name)
                where = parse_filter({"$document_id": name})
                first, _ = store.scan(where, None, 1)
                if first and first[0].id == passage.id:  # else it is on an earlier page
                    listed.append(_listed(name, passage, store.count(where)))
        if after is None:
            break
    return DocumentPage(listed, after)


def document(index: DocumentCollection, id: str) -> WholeDocument | None:
    """Return a document with all its passages; None for an unknown id."""
    found = sorted(index.passages({"$document_id": id}), key=_order)
    if not found:  # perhaps a passage that belongs to no document
        found = [one for one in index.get([id]) if one is not None and one.document_id is None]
    if not found:
        return None
    metadata = found[0].metadata
    for passage in found:
        metadata = _common(metadata, passage.metadata)
    return WholeDocument(id, _title(metadata, id), metadata, tuple(found))


def add_text(
    index: M3Index,
    text: str,
    *,
    id: str,
    title: str | None = None,
    metadata: Metadata | None = None,
    durable: bool = False,
    progress: Progress | None = None,
) -> Upserted:
    """Add a document, as text or Markdown, or replace the one with the same id.

    Args:
        index: The index.
        text: The text.
        id: The id of the document.
        title: The title; by default the first heading, if there is one.
        metadata: JSON values to store with each passage; they replace those that m3rag finds.
        durable: Whether a power cut must not lose it.
        progress: Called with (stage, done, total), in passages, as they become durable.

    Raises:
        InputError: The id or the text is empty or not valid Unicode, or the metadata cannot be
            stored.
        DocumentError: The text is above a limit.
        StorageError: The disk is full or the engine failed.
    """
    given = {"id": id, "text": text} | ({} if title is None else {"title": title})
    for name, value in given.items():
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"`{name}` must be a text that is not empty, got {shown(value)}.")
    check_text("`id`", id, index.limits.id_characters, "id_characters")
    check_text("`text`", text, index.limits.text_characters, "text_characters")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise InputError(f"`metadata` must be an object of JSON values, got {shown(metadata)}.")
    budget = budget_for(DEFAULT_LIMITS, ALL_FIELDS, None)
    [read] = unpack(text.encode(), format_of("text.md"), id, id, budget).documents
    own = {**read.metadata, **({} if title is None else {"title": title}), **(metadata or {})}
    tokens = index.model.passage_tokens
    passages = split(replace(read, metadata=own), index.model.tokenizer, max_tokens=tokens)
    return index.upsert_documents(passages, documents=[id], durable=durable, progress=progress)


def joined(passages: Iterable[Passage]) -> str:
    """Return the text of passages that follow each other in a document.

    What several of them have is there once. White space between them keeps its length, but not
    always its characters, and "…" stands for text that the index does not have.
    """
    return "".join(pieces(passages))


def pieces(passages: Iterable[Passage]) -> Iterator[str]:
    """Yield what each passage adds to the text of those before it; see `joined`."""
    end: int | None = None  # of the text so far; None if it is not known
    for number, passage in enumerate(passages):
        if number == 0:
            yield passage.text
        elif end is None or passage.start is None or passage.start - end > GAP:
            yield ("\n\n" if end is None or passage.start is None else _OMITTED) + passage.text
        else:
            yield added_text(passage, end)
        end = passage.end if end is None or passage.end is None else max(end, passage.end)


def _listed(name: str, first: Passage, passages: int) -> ListedDocument:
    metadata = {key: value for key, value in first.metadata.items() if key not in _PAGE}
    return ListedDocument(name, _title(metadata, name), passages, metadata)


def _order(passage: Passage) -> tuple[bool, int, int, str]:
    return passage.start is None, passage.start or 0, passage.end or 0, passage.id


def _title(metadata: Metadata, id: str) -> str:
    title = metadata.get("title")
    return title if isinstance(title, str) and title.strip() else id


def _common(one: Metadata, other: Metadata) -> Metadata:
    """Return the items that two sets of metadata have in common."""
    return {key: value for key, value in one.items() if key in other and other[key] == value}
