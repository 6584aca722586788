"""The files of a folder that an index is kept in step with, and what each had when it was read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from m3rag.documents.formats.content import Budget
from m3rag.documents.reading import format_of
from m3rag.documents.regular import chunks, visible
from m3rag.documents.unpacking import Unpacked, unpack
from m3rag.errors import DocumentError
from m3rag.index.stamps import Stamps

_STAMP = 16  # characters of a hash that are stored


@dataclass(slots=True)
class Source:
    """The files of the documents, and how to read them.

    Attributes:
        files: The files, by document id; or the content of one.
        within: The folder below which no link is followed; None to follow links.
        budget: What the parsers may use.
        settings: The settings of reading and splitting, as they start the content that is hashed.
        stamps: The stamps that an earlier sync with the same settings has found.
    """

    files: Mapping[str, Path | bytes]
    within: Path | None
    budget: Budget
    settings: str
    stamps: Stamps = field(default_factory=Stamps)

    def stamp(self, document: str) -> tuple[str | None, int]:
        """Return the stamp of a document as it is now, and its size in bytes.

        The stamp is None if the file cannot be read or is empty; `read` reports the reason.
        """
        file = self.files[document]
        if isinstance(file, bytes):
            return self._hash(document)
        return self.stamps.get(file, partial(self._hash, document))

    def _hash(self, document: str) -> tuple[str | None, int]:
        digest, size = hashlib.sha256(self.settings.encode()), 0
        try:
            for chunk in self._chunks(document):
                digest.update(chunk)
                size += len(chunk)
        except DocumentError:
            return None, 0
        return (_stamp(digest.hexdigest()) if size else None), size

    def read(self, document: str) -> tuple[Unpacked, str]:
        """Return a file's documents, and the stamp of exactly the bytes that they were read from.

        Raises:
            DocumentError: It cannot be read.
            MissingExtraError: A library that reads it is not installed.
        """
        data = b"".join(self._chunks(document))
        digest = hashlib.sha256(self.settings.encode())
        digest.update(data)
        file = self.files[document]
        shown = visible(file.as_posix()) if isinstance(file, Path) else document
        unpacked = unpack(data, format_of(document), document, shown, self.budget)
        return unpacked, _stamp(digest.hexdigest())

    def _chunks(self, document: str) -> Iterator[bytes]:
        file = self.files[document]
        if isinstance(file, bytes):
            return iter((file,))
        return chunks(file, self.budget.limits, within=self.within)


def _stamp(digest: str) -> str:
    return digest[:_STAMP]
