"""Describe an index and delete from it, without loading its model."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from m3rag.errors import InputError
from m3rag.index.manifest import Manifest
from m3rag.index.opening import StoredIndex
from m3rag.index.presets import Preset, read_presets
from m3rag.stores.base import pages
from m3rag.stores.filters import Filter, Where, parse_filter

NO_DOCUMENT = "(no document)"
_PAGE = 256  # passages read at a time


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """The contents of an index.

    Attributes:
        place: The folder or URL of the index.
        manifest: The model that built the index, and its settings.
        documents: The number of passages of each document, by document id.
        bytes: The size on disk; None for an index that is not in a folder.
        presets: The weights saved in the index.
    """

    place: str
    manifest: Manifest
    documents: Mapping[str, int]
    bytes: int | None
    presets: Mapping[str, Preset]

    @property
    def passages(self) -> int:
        """The number of passages."""
        return sum(self.documents.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the information as JSON values."""
        return {
            "model": self.manifest.model,
            "fingerprint": self.manifest.fingerprint,
            "dim": self.manifest.dim,
            "colbert": self.manifest.colbert,
            "created": self.manifest.created,
            "passages": self.passages,
            "documents": dict(self.documents),
            "bytes": self.bytes,
            "presets": {name: asdict(preset) for name, preset in self.presets.items()},
        }


@dataclass(frozen=True, slots=True)
class Deleted:
    """The result of a deletion: how many passages were deleted, and how many are left."""

    deleted: int
    left: int

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        return asdict(self)


def info(stored: StoredIndex) -> IndexInfo:
    """Describe the contents of an index; reads all passages."""
    documents: Counter[str] = Counter()
    for page in pages(stored.store, None, _PAGE):
        documents.update(passage.document_id or NO_DOCUMENT for passage in page)
    folder = stored.location.path
    return IndexInfo(
        place=str(stored.location),
        manifest=stored.manifest,
        documents=dict(sorted(documents.items())),
        bytes=None if folder is None else _size(folder),
        presets=read_presets(stored.location),
    )


def delete(stored: StoredIndex, *, documents: Sequence[str] = (), filter: Where = None) -> Deleted:
    """Delete documents by id or passages by filter; with both, passages that match both.

    Raises:
        InputError: Neither documents nor a filter is given, or `documents` is a string.
    """
    if isinstance(documents, str):
        raise InputError(f"`documents` must be a list of ids, got the string {documents!r}.")
    chosen: list[Mapping[str, Any] | Filter] = []
    if documents:
        chosen.append({"$document_id": list(documents)})
    if filter is not None:
        chosen.append(filter)
    if not chosen:
        raise InputError("Say what to delete: documents by id, or passages by a filter.")
    where = parse_filter({"$and": chosen})
    assert where is not None  # `chosen` is not empty
    return Deleted(stored.store.delete_where(where), stored.store.count())


def _size(folder: Path) -> int:
    """Return the bytes a folder takes on disk; counts blocks, as the engine's files are sparse."""
    size = 0
    for file in folder.rglob("*"):
        try:
            status = file.stat()
        except FileNotFoundError:  # an open engine removes files
            continue
        if stat.S_ISREG(status.st_mode):
            blocks = getattr(status, "st_blocks", None)  # missing on Windows
            size += status.st_size if blocks is None else blocks * 512
    return size
