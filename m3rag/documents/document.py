"""Documents, the passages they are split into, and passages as JSON values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from m3rag.errors import InputError

Scalar = str | int | float | bool | None
Metadata = Mapping[str, Scalar | list[str] | list[int] | list[float]]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of a document: its level (1 is the highest), its title, where it starts."""

    level: int
    title: str
    start: int


@dataclass(frozen=True, slots=True)
class Document:
    """A whole text, as it was read.

    Attributes:
        id: what names it for good; a file's path relative to its folder, usually.
        text: everything that can be found again by a character span.
        headings: in the order of the text.
        metadata: JSON values, copied into every passage of the document.
        pages: where each page starts in the text, if there are pages; passages then have a "page".
    """

    id: str
    text: str
    headings: tuple[Heading, ...] = ()
    metadata: Metadata = field(default_factory=dict)
    pages: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text that is encoded, stored and found.

    Attributes:
        id: unique in an index; adding the same id again replaces.
        text: what is encoded; `document.text[start:end]`, exactly, if it comes from a document.
        metadata: JSON values; what filters look at.
        document_id: the document it comes from, if any.
        start: first character in the document.
        end: one past the last character.
        headings: the titles above the passage, the highest first.
    """

    id: str
    text: str
    metadata: Metadata = field(default_factory=dict)
    document_id: str | None = None
    start: int | None = None
    end: int | None = None
    headings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise InputError(f"A passage's id must be a non-empty string, got {self.id!r}.")
        if not isinstance(self.text, str):
            raise InputError(
                f"Passage {self.id!r}: its text must be a string, got {type(self.text).__name__}."
            )

    @property
    def place(self) -> str:
        """Where it stands, for people: its document and the headings above it."""
        return " › ".join([self.document_id or self.id, *self.headings])


def as_passage(passage: object) -> Passage:
    """Return a passage as it is, or make one from a string with an id derived from its text.

    Raises:
        InputError: It is neither a passage nor a string, or it cannot be stored.
    """
    if isinstance(passage, str):
        digest = hashlib.blake2b(passage.encode(errors="surrogatepass"), digest_size=16)
        passage = Passage(id=digest.hexdigest(), text=passage)
    if not isinstance(passage, Passage):
        raise InputError(f"A passage is a Passage or a string, got {type(passage).__name__}.")
    check_passage(passage)
    return passage


def check_passage(passage: Passage) -> None:
    """Check that a passage survives a round trip through JSON unchanged.

    Raises:
        InputError: Its text is not Unicode or its metadata is not JSON; names the passage.
    """
    try:
        texts = (passage.id, passage.text, passage.document_id, *passage.headings)
        json.dumps([texts, passage.metadata], allow_nan=False, ensure_ascii=False).encode()
        _check_keys(passage.metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"Passage {passage.id!r} cannot be stored: {error}. Text must be Unicode, metadata "
            "JSON: strings, finite numbers, booleans, None, lists, and dicts with string keys."
        ) from None


def passage_to_dict(passage: Passage) -> dict[str, Any]:
    """Return the passage as JSON values; `passage_from_dict` is the inverse."""
    return {
        "id": passage.id,
        "text": passage.text,
        "metadata": dict(passage.metadata),
        "document_id": passage.document_id,
        "start": passage.start,
        "end": passage.end,
        "headings": list(passage.headings),
    }


def passage_from_dict(values: dict[str, Any]) -> Passage:
    """Return the passage that `passage_to_dict` described."""
    return Passage(**{**values, "headings": tuple(values["headings"])})


def _check_keys(value: object) -> None:
    """Reject dict keys that JSON would silently turn into strings."""
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a key in its metadata is not a string")
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            _check_keys(part)
