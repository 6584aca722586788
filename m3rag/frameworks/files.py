"""The documents of a file or a folder, for a loader or a reader."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

from m3rag import documents
from m3rag.documents.ahead import read_ahead
from m3rag.documents.ignoring import Rules
from m3rag.errors import DocumentError, InputError
from m3rag.limits import Limits, shown


class ReadsFiles:
    """A mixin that reads a file, or all files of a folder that m3rag can read.

    Args:
        path: A file or a folder.
        errors: "raise" stops at a file that cannot be read, "warn" warns and goes on.
        exclude: Patterns of what to leave out of a folder, as for `m3rag.documents.scan`.
        follow_links: Whether to follow links out of the folder.
        limits: The largest files, and how long reading one may take.
        fields: Which fields of the records of .csv, .json and .jsonl files are read.
        encoding: The encoding of text files that are not UTF-8 and do not say what they are.
        ocr: The languages in which Tesseract reads images; None to read none.

    Raises:
        InputError: `path`, `errors` or `exclude` has a value that it cannot have.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        errors: Literal["raise", "warn"],
        exclude: Sequence[str],
        follow_links: bool,
        limits: Limits,
        fields: documents.Fields,
        encoding: str | None,
        ocr: str | None,
    ) -> None:
        if not isinstance(path, str | Path):
            raise InputError(f"`path` must be a file or a folder, got {shown(path)}.")
        if errors not in ("raise", "warn"):
            raise InputError(f'`errors` must be "raise" or "warn", got {shown(errors)}.')
        Rules.of(exclude)
        self.path = Path(path)
        self.errors = errors
        self.exclude = exclude
        self.follow_links = follow_links
        self.limits = limits
        self.fields = fields
        self.encoding = encoding
        self.ocr = ocr

    def _read(self) -> Iterator[documents.Document]:
        """Yield the documents, and those in them, such as attachments; some are read ahead."""
        names = dict(self._files())

        def read(path: Path) -> list[documents.Document]:
            return documents.read_all(
                path,
                id=names[path],
                limits=self.limits,
                fields=self.fields,
                encoding=self.encoding,
                ocr=self.ocr,
            )

        with closing(read_ahead(read, {path: _size(path) for path in names}, _weight)) as files:
            for _, reading in files:
                try:
                    found = reading.result()
                except DocumentError as error:
                    if self.errors == "raise":
                        raise
                    warnings.warn(f"Left out: {error}", stacklevel=3)
                else:
                    yield from found

    def _files(self) -> Iterator[tuple[Path, str]]:
        """Yield each file with the id of its document."""
        if not self.path.is_dir() and self.path.exists():
            if self.exclude:
                raise InputError(f"{self.path} is a file, and `exclude` is for folders.")
            yield self.path, self.path.name
            return
        listing = documents.scan(
            self.path,
            exclude=self.exclude,
            follow_links=self.follow_links,
            limits=self.limits,
            ocr=self.ocr,
        )
        for name in listing.files:
            yield listing.root / name, str(name)


def _size(path: Path) -> int:
    """Return the size of a file; reading one that is gone reports that."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


def _weight(found: list[documents.Document]) -> int:
    return sum(sys.getsizeof(document.text) for document in found)
