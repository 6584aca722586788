"""Long texts and the passages they are split into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
