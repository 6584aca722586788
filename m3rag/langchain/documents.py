"""Convert LangChain documents to passages and back, and add scores to documents.

Document                        Passage
id                              id; without one, a digest of text and metadata
page_content                    text
metadata["document_id"]         document_id   (a string)
metadata["start"], ["end"]      start, end    (integers)
metadata["headings"]            headings      (strings)
the rest of metadata            metadata      (JSON values)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any

from langchain_core.documents import Document

from m3rag.documents import Passage, check_passage
from m3rag.errors import InputError
from m3rag.index import Hit
from m3rag.scoring import SCORED

_FIELDS = {"document_id": str, "start": int, "end": int}


def to_passage(document: Document, id: str | None = None) -> Passage:
    """Return a document as a passage, which shares no memory with it.

    Raises:
        InputError: `document` is not a `Document`, or its metadata is not JSON.
    """
    if not isinstance(document, Document):
        raise InputError(f"A document must be a LangChain Document, got {type(document).__name__}.")
    name = id or document.id or digest(document)
    check_passage(Passage(name, document.page_content, document.metadata))
    metadata = json.loads(json.dumps(document.metadata))
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
    return Document(id=passage.id, page_content=passage.text, metadata=metadata)


def scored_document(hit: Hit) -> Document:
    """Return the document of a hit with its scores ("relevance_score", "dense_score" and so on)."""
    channels = {channel: getattr(hit, channel) for channel in SCORED}
    return with_scores(to_document(hit.passage), hit.score, channels)


def with_scores(document: Document, score: float, channels: dict[str, float | None]) -> Document:
    """Return a copy of a document with scores in its metadata."""
    scores = {f"{c}_score": float(s) for c, s in channels.items() if s is not None}
    metadata = {**document.metadata, "relevance_score": float(score), **scores}
    return document.model_copy(update={"metadata": metadata})


def documents_of(
    texts: Iterable[str], metadatas: Sequence[dict[str, Any]] | None, ids: Sequence[str] | None
) -> list[Document]:
    """Return a document for each text.

    Raises:
        InputError: The number of metadatas or ids is not the number of texts.
    """
    texts = list(texts)
    for name, given in (("metadatas", metadatas), ("ids", ids)):
        if given is not None and len(given) != len(texts):
            raise InputError(
                f"Got {len(texts)} texts and {len(given)} {name}. Pass one for each text."
            )
    return [
        Document(
            id=ids[i] if ids else None,
            page_content=text,
            metadata=metadatas[i] if metadatas else {},
        )
        for i, text in enumerate(texts)
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
    return key in _FIELDS and type(value) is _FIELDS[key]
