"""What there is to index: the documents of a folder, one file, or data from elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from m3rag.documents import scan
from m3rag.documents.reading import format_of
from m3rag.documents.regular import too_large, visible
from m3rag.errors import DocumentError, InputError
from m3rag.index.changes import Changes
from m3rag.limits import DEFAULT_LIMITS, Limits, shown

_NAMED = 3  # entries that the error for a folder without documents names
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Listed:
    """What there is to index.

    Attributes:
        name: The name with which the ids of the documents start.
        root: A hash of the place, stored in place of its path.
        files: The file or the content of each document, by document id.
        within: The folder below which no link is followed; None to follow links.
        changes: What is known before anything is read: what is left out, and why.
    """

    name: str
    root: str
    files: Mapping[str, Path | bytes]
    within: Path | None = None
    changes: Changes = field(default_factory=Changes)

    def nothing(self) -> DocumentError:
        """Return the error for a folder without documents."""
        others = {**self.changes.failed, **self.changes.skipped}
        others |= {name: f"It matches {by}." for name, by in self.changes.excluded.items()}
        reasons = "".join(f" {name}: {others[name]}" for name in sorted(others)[:_NAMED])
        return DocumentError(
            f"{self.name} contains no .md, .pdf, .docx or other file to index.{reasons}"
        )

    def failed(self, document: str) -> bool:
        """Return whether a document, or a folder above it, cannot be seen now."""
        failed = self.changes.failed
        parts = document.split("/")
        above = ("/".join(parts[:i]) + "/" for i in range(1, len(parts)))
        # A link to a folder that leads to nothing now is reported without a "/" at its end.
        return document in failed or any(name in failed or name[:-1] in failed for name in above)


def list_folder(
    folder: str | Path,
    *,
    exclude: Sequence[str] = (),
    follow_links: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    ocr: str | None = None,
) -> Listed:
    """List the documents of a folder, or the one that a file is.

    Raises:
        DocumentError: The folder does not exist or cannot be listed, or the file has an unknown
            suffix.
        InputError: The name is not Unicode, or `exclude` cannot be used.
    """
    folder = Path(folder).expanduser().resolve()
    name = folder.name
    if visible(name) != name:
        raise InputError(
            f"The name of {visible(folder)} is not UTF-8, but it starts the ids of its documents. "
            "Rename it."
        )
    root = _hash(str(folder))
    if folder.is_file():
        format_of(name)
        if exclude:
            raise InputError(f"{name} is a file, and `exclude` is for folders. Leave it out.")
        return Listed(name, root, {name: folder})
    listing = scan(folder, exclude=exclude, follow_links=follow_links, limits=limits, ocr=ocr)

    def by_id(entries: Mapping[str, _Value]) -> dict[str, _Value]:
        return {f"{name}/{entry}": value for entry, value in entries.items()}

    changes = Changes(
        failed=by_id(listing.failed),
        skipped=by_id(listing.skipped),
        excluded=by_id(listing.excluded),
        other=listing.other,
    )
    return Listed(name, root, by_id(listing.files), None if follow_links else folder, changes)


def list_data(name: str | Path, data: bytes, limits: Limits = DEFAULT_LIMITS) -> Listed:
    """Return data from elsewhere as one document with a name.

    Raises:
        DocumentError: The suffix of the name is unknown, or the data is too large.
        InputError: The name is no name of a file, or the data is not bytes.
    """
    name = str(name)
    if not name or Path(name).name != name or visible(name) != name:
        raise InputError(f"{shown(name)} is no name for a document. Use one such as report.pdf.")
    if not isinstance(data, bytes):
        raise InputError(f"`data` must be bytes, got {shown(data)}.")
    format_of(name)
    if len(data) > limits.file_bytes:
        raise too_large(Path(name), len(data), limits)
    return Listed(name, _hash(""), {name: data})


def documents_in(
    folder: str | Path,
    *,
    exclude: Sequence[str] = (),
    follow_links: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    ocr: str | None = None,
) -> list[Path]:
    """Return the files of all documents in a folder and its subfolders.

    Raises:
        DocumentError: The folder does not exist, cannot be listed or contains no documents.
        InputError: As for `list_folder`.
    """
    listed = list_folder(folder, exclude=exclude, follow_links=follow_links, limits=limits, ocr=ocr)
    if not listed.files:
        raise listed.nothing()
    return [file for file in listed.files.values() if isinstance(file, Path)]


def _hash(place: str) -> str:
    return hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()[:12]
