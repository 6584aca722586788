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
    """A heading of a document.

    Attributes:
        level: The level; 1 is the highest.
        title: The title as plain text.
        start: The position of its first character in the document's text.
    """

    level: int
    title: str
    start: int


@dataclass(frozen=True, slots=True)
class Document:
    """A whole text, as it was read.

    Attributes:
        id: The permanent identifier; for a file, usually its path relative to the indexed folder.
        text: The text that the spans of headings and passages refer to.
        headings: The headings, in the order of the text.
        metadata: JSON values, copied into every passage of the document.
        pages: The start of each page in the text. If there are pages, the metadata of every
            passage has a "page".
    """

    id: str
    text: str
    headings: tuple[Heading, ...] = ()
    metadata: Metadata = field(default_factory=dict)
    pages: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text that an index encodes, stores and returns.

    Attributes:
        id: The identifier, unique in an index; adding a passage with the same id replaces it.
        text: The text that is encoded. If the passage comes from a document, this is exactly
            `document.text[start:end]`.
        metadata: JSON values that filters can test.
        document_id: The id of the document that the passage comes from, if any.
        start: The position of its first character in the document.
        end: The position after its last character.
        headings: The titles above the passage, highest first.
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
                f"The text of passage {self.id!r} must be a string, got {type(self.text).__name__}."
            )

    @property
    def place(self) -> str:
        """The document's id and the headings above the passage, as text for people."""
        return " › ".join([self.document_id or self.id, *self.headings])


def as_passage(passage: object) -> Passage:
    """Return a passage unchanged, or make one from a string, with an id derived from the text.

    Raises:
        InputError: The argument is neither a passage nor a string, or it cannot be stored.
    """
    if isinstance(passage, str):
        digest = hashlib.blake2b(passage.encode(errors="surrogatepass"), digest_size=16)
        passage = Passage(id=digest.hexdigest(), text=passage)
    if not isinstance(passage, Passage):
        raise InputError(f"A passage must be a Passage or a string, got {type(passage).__name__}.")
    check_passage(passage)
    return passage


def check_passage(passage: Passage) -> None:
    """Check that a passage survives a round trip through JSON unchanged.

    Raises:
        InputError: The text is not Unicode or the metadata is not JSON; the message names the
            passage.
    """
    try:
        texts = (passage.id, passage.text, passage.document_id, *passage.headings)
        json.dumps([texts, passage.metadata], allow_nan=False, ensure_ascii=False).encode()
        _check_keys(passage.metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"Passage {passage.id!r} cannot be stored: {error}. Text must be Unicode, and metadata "
            "must be JSON: strings, finite numbers, booleans, None, lists, and dicts with string "
            "keys."
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
    """Return the passage that `passage_to_dict` turned into JSON values."""
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
