"""Convert LangChain documents to passages and back.

Document                        Passage
id                              id; without one, a digest of text and metadata
page_content                    text
metadata["document_id"]         document_id   (a string)
metadata["start"], ["end"]      start, end    (integers)
metadata["headings"]            headings      (strings)
metadata["table_header"]        table_header  (a string)
the rest of metadata            metadata      (JSON values)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from langchain_core.documents import Document

from m3rag.documents import Passage, as_passage
from m3rag.errors import InputError
from m3rag.frameworks import TABLE_HEADER
from m3rag.langchain.metadata import ScoredMetadata
from m3rag.limits import shown

_FIELDS = {"document_id": str, "start": int, "end": int}


def to_passage(document: Document, id: str | None = None) -> Passage:
    """Return a document as a passage, which shares no memory with it.

    Raises:
        InputError: `document` is not a `Document`, or its metadata is not JSON.
    """
    if not isinstance(document, Document):
        raise InputError(f"A document must be a LangChain Document, got {type(document).__name__}.")
    found = document.metadata
    if isinstance(found, ScoredMetadata):  # a search result: the scores are those of its query
        found = found.unscored()
    name = id or document.id or digest(document)
    checked = as_passage(Passage(name, document.page_content, found))
    metadata: dict[str, Any] = dict(checked.metadata)
    fields = {key: metadata.pop(key) for key in [*metadata] if _is_field(key, metadata[key])}
    fields["headings"] = tuple(fields.get("headings", ()))
    return Passage(name, document.page_content, metadata, **fields)


def to_document(passage: Passage) -> Document:
    """Return a passage as a document; restores the document of `to_passage`."""
    metadata: dict[str, Any] = deepcopy(dict(passage.metadata))
    fields = {key: getattr(passage, key) for key in _FIELDS}
    metadata |= {key: value for key, value in fields.items() if value is not None}
    if passage.headings:
        metadata["headings"] = list(passage.headings)
    if passage.table_header:
        metadata[TABLE_HEADER] = passage.table_header
    return Document(id=passage.id, page_content=passage.text, metadata=metadata)


def passages_of(
    documents: Iterable[Document], ids: Sequence[str | None] | None = None
) -> list[Passage]:
    """Return documents as passages, all of them checked before any of them is stored.

    Args:
        documents: The documents.
        ids: Ids that replace those of the documents; None keeps that of the document.

    Raises:
        InputError: `documents` is a single document or text, one of them cannot be stored (the
            message says at which position it is, with its id and its source), or the number of
            ids is not the number of documents.
    """
    if isinstance(documents, str | Document) or not isinstance(documents, Iterable):
        raise InputError(f"`documents` must be a list of Documents, got {shown(documents)}.")
    documents = list(documents)
    if ids is not None:
        ids = list(ids)
        if len(ids) != len(documents):
            raise InputError(
                f"Got {len(documents)} documents and {len(ids)} ids. Pass one for each document."
            )
    return [
        _passage(document, ids[at] if ids else None, at, len(documents))
        for at, document in enumerate(documents)
    ]


def _passage(document: Document, id: str | None, at: int, of: int) -> Passage:
    try:
        return to_passage(document, id)
    except InputError as error:
        if not isinstance(document, Document):
            raise InputError(f"Document {at:,} of {of:,}: {error}") from None
        source = document.metadata.get("source")
        known = [f"id {shown(document.id)}"] if document.id else []
        known += [f"source {shown(source)}"] if source is not None else []
        named = f" ({', '.join(known)})" if known else ""
        reason = str(error).partition(" cannot be stored: ")[2] or str(error)
        raise InputError(
            f"Document {at:,} of {of:,}{named} cannot be stored: {reason} Nothing was stored."
        ) from None


def documents_of(
    texts: Iterable[str],
    metadatas: Iterable[Mapping[str, Any]] | None,
    ids: Iterable[str | None] | None,
) -> list[Document]:
    """Return a document for each text; iterators of any kind are read once.

    Raises:
        InputError: `texts` is a single text, a text is no string, or the number of metadatas or
            ids is not the number of texts.
    """
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise InputError(f"`texts` must be a list of strings, got {shown(texts)}.")
    texts = list(texts)
    given: dict[str, Iterable[Any] | None] = {"metadatas": metadatas, "ids": ids}
    lists = {name: list(values) for name, values in given.items() if values is not None}
    for name, values in lists.items():
        if len(values) != len(texts):
            raise InputError(
                f"Got {len(texts)} texts and {len(values)} {name}. Pass one for each text."
            )
    for at, text in enumerate(texts):
        if not isinstance(text, str):
            advice = ""
            if isinstance(text, Document):
                advice = " Documents go to add_documents and from_documents."
            raise InputError(f"Text {at:,} must be a string, got {shown(text)}.{advice}")
    return [
        Document(
            id=lists["ids"][at] if "ids" in lists else None,
            page_content=text,
            metadata=dict(lists["metadatas"][at] or {}) if "metadatas" in lists else {},
        )
        for at, text in enumerate(texts)
    ]


def digest(document: Document) -> str:
    """Return an id derived from text and metadata, so that adding a document twice replaces it."""
    content = [document.page_content, document.metadata]
    values = json.dumps(content, sort_keys=True, default=str).encode()
    return hashlib.blake2b(values, digest_size=16).hexdigest()


def _is_field(key: str, value: object) -> bool:
    """Return whether a metadata entry has the name and the type of a field of `Passage`."""
    if key == "headings":
        return isinstance(value, list) and value != [] and all(isinstance(v, str) for v in value)
    if key == TABLE_HEADER:
        return isinstance(value, str) and value != ""
    if isinstance(value, int) and not 0 <= value < 1 << 63:  # no place in a document
        return False
    return key in _FIELDS and type(value) is _FIELDS[key]
