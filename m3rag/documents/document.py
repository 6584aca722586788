"""Documents, the passages they are split into, and passages as JSON values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from m3rag.documents.metadata import checked_metadata
from m3rag.documents.places import place as place_of
from m3rag.errors import InputError
from m3rag.limits import DEFAULT_LIMITS, Limits, check_text, shown

Metadata = Mapping[str, Any]
"""JSON values by name; what has a JSON form (`m3rag.values`) is stored in it."""


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
            passage has a "page", counted from 1, and a "last_page" if it ends on another one.
        notes: What the file has and the text has not, such as pages that are images, as sentences.
    """

    id: str
    text: str
    headings: tuple[Heading, ...] = ()
    metadata: Metadata = field(default_factory=dict)
    pages: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text that an index encodes, stores and returns.

    Attributes:
        id: The identifier, unique in an index; adding a passage with the same id replaces it.
        text: The text. If the passage comes from a document, this is exactly
            `document.text[start:end]`.
        metadata: JSON values that filters can test. An index returns tuples as lists, and dates,
            UUIDs, paths, enums and numpy scalars in their JSON form (`m3rag.values`). Filters
            compare numbers as 64-bit floats, although larger integers are stored exactly.
        document_id: The id of the document that the passage comes from, if any.
        start: The position of its first character in the document.
        end: The position after its last character.
        headings: The titles above the passage, highest first.
        table_header: The header of the table in whose middle the text starts; "" if it does not.
            It is encoded and shown with the text, but is no part of it.
    """

    id: str
    text: str
    metadata: Metadata = field(default_factory=dict)
    document_id: str | None = None
    start: int | None = None
    end: int | None = None
    headings: tuple[str, ...] = ()
    table_header: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise InputError(f"A passage's id must be a non-empty string, got {shown(self.id)}.")
        if not isinstance(self.text, str):
            raise InputError(
                f"The text of passage {shown(self.id)} must be a string, got "
                f"{type(self.text).__name__}."
            )

    @property
    def full_text(self) -> str:
        """The text with the header of its table, which is what a model encodes and reads."""
        return with_header(self.table_header, self.text)

    @property
    def place(self) -> str:
        """The document's id, the page and the headings above the passage, as text for people."""
        return place_of(self.document_id or self.id, self.metadata, self.headings)


def with_header(table_header: object, text: str) -> str:
    """Return a text below the header of its table; what is no text, or empty, is no header."""
    has_header = isinstance(table_header, str) and table_header
    return f"{table_header}\n{text}" if has_header else text


def as_passage(passage: object, limits: Limits = DEFAULT_LIMITS) -> Passage:
    """Return a checked copy of a passage, or make one from a string.

    The id of a string is derived from it. The copy shares no list or dict with the original, and
    its metadata is what JSON returns: tuples become lists. So all stores return the same.

    Raises:
        InputError: The argument is neither a passage nor a string, or it cannot be stored.
    """
    if isinstance(passage, str):
        digest = hashlib.blake2b(passage.encode(errors="surrogatepass"), digest_size=16)
        passage = Passage(id=digest.hexdigest(), text=passage)
    if not isinstance(passage, Passage):
        raise InputError(
            f"A passage must be a Passage or a string, got {type(passage).__name__}."
            f"{_help(passage)}"
        )
    metadata = _checked(passage, limits)
    name = passage.document_id
    return replace(
        passage,
        id=_plain(passage.id),
        text=_plain(passage.text),
        metadata=metadata,
        document_id=None if name is None else _plain(name),
        headings=tuple(map(_plain, passage.headings)),
        table_header=_plain(passage.table_header),
    )


def _help(item: object) -> str:
    """Return how to add what a framework calls a document or a node, as a sentence."""
    framework = type(item).__module__.split(".")[0]
    if framework.startswith("langchain"):
        return " m3rag.langchain's stores and retrievers take it: add_documents([document])."
    if framework == "llama_index":
        return " m3rag.llama_index's stores and retrievers take it: from_nodes, or add([node])."
    return ""


def check_passage(passage: Passage, limits: Limits = DEFAULT_LIMITS) -> None:
    """Check that every store can keep a passage and return it unchanged, but for tuples.

    Raises:
        InputError: A string is not Unicode, the metadata is not JSON, a field has another type, or
            something is larger than the limits; the message names the passage.
    """
    _checked(passage, limits)


def _checked(passage: Passage, limits: Limits) -> dict[str, Any]:
    """Check a passage and return a copy of its metadata.

    Raises:
        InputError: As for `check_passage`.
    """
    try:
        _check_fields(passage, limits)
        return checked_metadata(passage.metadata, limits)
    except InputError as error:
        source = source_of(passage)
        place = f" (from {shown(source)})" if source else ""
        raise InputError(f"Passage {shown(passage.id)}{place} cannot be stored: {error}") from None


def source_of(passage: Passage) -> str | None:
    """Return the document of a passage, or the "source" of its metadata, if it names one."""
    metadata = passage.metadata if isinstance(passage.metadata, Mapping) else {}
    found = passage.document_id or metadata.get("source")
    return found if isinstance(found, str) and found else None


def _check_fields(passage: Passage, limits: Limits) -> None:
    check_text("its id", passage.id, limits.id_characters, "id_characters")
    check_text("its text", passage.text, limits.text_characters, "text_characters")
    document = passage.document_id
    if document is not None:
        if not isinstance(document, str):
            raise InputError(f"its document_id must be a string or None, got {shown(document)}.")
        check_text("its document_id", document, limits.id_characters, "id_characters")
    for name, place in (("start", passage.start), ("end", passage.end)):
        if place is not None and (type(place) is not int or not 0 <= place < 1 << 63):
            raise InputError(
                f"its {name} must be None or an integer from 0 to 2**63 - 1, got {shown(place)}."
            )
    header = passage.table_header
    if not isinstance(header, str):
        raise InputError(f"its table_header must be a string, got {shown(header)}.")
    check_text("its table_header", header, limits.metadata_bytes, "metadata_bytes")
    headings = passage.headings
    if not isinstance(headings, tuple | list) or not all(isinstance(h, str) for h in headings):
        raise InputError(f"its headings must be a tuple of strings, got {shown(headings)}.")
    left = limits.metadata_bytes
    for heading in headings:
        check_text("one of its headings", heading, left, "metadata_bytes")
        left -= len(heading)


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
        "table_header": passage.table_header,
    }


def passage_from_dict(values: dict[str, Any]) -> Passage:
    """Return the passage that `passage_to_dict` turned into JSON values."""
    return Passage(**{**values, "headings": tuple(values["headings"])})


def _plain(text: str) -> str:
    """Return a string without its subclass, such as that of an enum or of numpy."""
    return text if type(text) is str else str.__str__(text)
