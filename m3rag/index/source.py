"""The files of a folder that an index is kept in step with, and what each had when it was read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from m3rag.documents.formats.content import Fields
from m3rag.documents.reading import budget_for, format_of, load
from m3rag.documents.regular import chunks
from m3rag.documents.unpacking import Unpacked
from m3rag.errors import DocumentError
from m3rag.limits import Limits

_STAMP = 16  # characters of a hash that are stored


@dataclass(slots=True)
class Source:
    """The files of the documents, and how to read them.

    Attributes:
        files: The files, by document id.
        within: The folder below which no link is followed; None to follow links.
        limits: How large a document may be, and how long reading it may take.
        fields: The fields of records to read.
        encoding: The encoding of text files that are not UTF-8 and do not say what they are.
        settings: The settings of reading and splitting, as they start the content that is hashed.
    """

    files: dict[str, Path]
    within: Path | None
    limits: Limits
    fields: Fields
    encoding: str | None
    settings: str

    def stamp(self, document: str) -> tuple[str, int]:
        """Return the stamp of a document as it is now, and its size in bytes."""
        digest, size = hashlib.sha256(self.settings.encode()), 0
        try:
            for chunk in chunks(self.files[document], self.limits, within=self.within):
                digest.update(chunk)
                size += len(chunk)
        except DocumentError:
            return "unreadable", 0  # `read` reports the reason
        return digest.hexdigest()[:_STAMP], size

    def read(self, document: str) -> tuple[Unpacked, str]:
        """Return a file's documents, and the stamp of exactly the bytes that they were read from.

        Raises:
            DocumentError: It cannot be read.
            MissingExtraError: A library that reads it is not installed.
        """
        unpacked, digest = load(
            self.files[document],
            format_of(document),
            document,
            budget_for(self.limits, self.fields, self.encoding),
            within=self.within,
            salt=self.settings,
        )
        return unpacked, digest[:_STAMP]
