"""Documents to passages and back, and the scores that a document carries.

Document                        Passage
id                              id; without one, a digest of text and metadata
page_content                    text
metadata["document_id"]         document_id   (a string)
metadata["start"], ["end"]      start, end    (whole numbers)
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

_OWN = {"document_id": str, "start": int, "end": int}


def to_passage(document: Document, id: str | None = None) -> Passage:
    """The passage of a document, in memory of its own.

    Raises:
        InputError: not a `Document`, or metadata that is not JSON.
    """
    if not isinstance(document, Document):
        raise InputError(f"A document is a langchain Document, got {type(document).__name__}.")
    name = id or document.id or digest(document)
    check_passage(Passage(name, document.page_content, document.metadata))
    metadata = json.loads(json.dumps(document.metadata))
    own = {key: metadata.pop(key) for key in [*metadata] if _is_own(key, metadata[key])}
    own["headings"] = tuple(own.get("headings", ()))
    return Passage(name, document.page_content, metadata, **own)


def to_document(passage: Passage) -> Document:
    """The document that `to_passage` was given, or that an index made elsewhere holds."""
    metadata: dict[str, Any] = deepcopy(dict(passage.metadata))
    own = {key: getattr(passage, key) for key in _OWN}
    metadata |= {key: value for key, value in own.items() if value is not None}
    if passage.headings:
        metadata["headings"] = list(passage.headings)
    return Document(id=passage.id, page_content=passage.text, metadata=metadata)


def scored_document(hit: Hit) -> Document:
    """The document of a hit with its scores: "relevance_score", and "dense_score" and so on."""
    channels = {channel: getattr(hit, channel) for channel in SCORED}
    return with_scores(to_document(hit.passage), hit.score, channels)


def with_scores(document: Document, score: float, channels: dict[str, float | None]) -> Document:
    """A copy of a document with these scores in its metadata."""
    scores = {f"{c}_score": float(s) for c, s in channels.items() if s is not None}
    metadata = {**document.metadata, "relevance_score": float(score), **scores}
    return document.model_copy(update={"metadata": metadata})


def documents_of(
    texts: Iterable[str], metadatas: Sequence[dict[str, Any]] | None, ids: Sequence[str] | None
) -> list[Document]:
    """One document a text.

    Raises:
        InputError: another number of metadatas or ids than of texts.
    """
    texts = list(texts)
    for name, given in (("metadatas", metadatas), ("ids", ids)):
        if given is not None and len(given) != len(texts):
            raise InputError(
                f"There are {len(texts)} texts and {len(given)} {name}: pass one each."
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
    """An id that follows from text and metadata: adding the same document again replaces it."""
    content = [document.page_content, document.metadata]
    values = json.dumps(content, sort_keys=True, default=str).encode()
    return hashlib.blake2b(values, digest_size=16).hexdigest()


def _is_own(key: str, value: object) -> bool:
    """Whether a metadata entry is one of the passage's own fields, and fits there."""
    if key == "headings":
        return isinstance(value, list) and value != [] and all(isinstance(v, str) for v in value)
    return key in _OWN and type(value) is _OWN[key]
