"""The files of a folder as an index holds them: their passages, and what these say of the file.

The passages of a file are the only record of it. The metadata of each has "source", the id of the
file's document; "stamp", a hash of its content; "passages", the number of its passages; "copies",
other files with the same content; and "root", a hash of the folder's path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from m3rag.documents import Passage
from m3rag.documents.document import Metadata
from m3rag.errors import InputError
from m3rag.index.index import M3Index

_MOST_COPIES = 100  # names in the metadata of each passage


@dataclass(slots=True)
class StoredFile:
    """The stored passages of a file.

    Attributes:
        ids: The ids of the passages.
        stamps: The stamps that they have; several, or too few passages, after an interruption.
        expected: The number of passages that the file has.
        named: The copies that they name.
    """

    ids: set[str] = field(default_factory=set)
    stamps: set[str] = field(default_factory=set)
    expected: int = 0
    named: set[tuple[str, ...]] = field(default_factory=set)

    @property
    def stamp(self) -> str | None:
        """The stamp of the content that is stored; None if it is not complete."""
        complete = len(self.stamps) == 1 and len(self.ids) == self.expected
        return next(iter(self.stamps)) if complete else None

    @property
    def copies(self) -> list[str]:
        """The documents that have the same content."""
        return sorted({name for names in self.named for name in names})


def stored_files(index: M3Index, folder: str, root: str) -> dict[str, StoredFile]:
    """Return the files of a folder that an index has passages of, by document id.

    Args:
        index: The index.
        folder: The name of the folder, with which the ids of its documents start.
        root: The hash of its path.

    Raises:
        InputError: The index holds another folder of this name.
    """
    files: dict[str, StoredFile] = {}
    for passage in index.passages():
        if not f"{passage.document_id}/".startswith(f"{folder}/"):
            continue
        if passage.metadata.get("root") != root:
            raise InputError(
                f"The index already holds another folder or file named {folder!r} (passage "
                f"{passage.id!r}). Rename this one. If it is the same and was moved, "
                f"delete its old passages first: filter root={passage.metadata.get('root')}."
            )
        file = files.setdefault(str(passage.metadata.get("source")), StoredFile())
        file.ids.add(passage.id)
        file.stamps.add(str(passage.metadata.get("stamp")))
        file.expected = int(str(passage.metadata.get("passages", 0)))
        file.named.add(tuple(map(str, passage.metadata.get("copies", ()))))
    return files


def with_copies(metadata: Metadata, copies: Sequence[str]) -> Metadata:
    """Return the metadata of a passage with the names of the copies of its file."""
    rest = {key: value for key, value in metadata.items() if key != "copies"}
    return {**rest, "copies": named(copies)} if copies else rest


def named(copies: Sequence[str]) -> list[str]:
    """Return the copies that the passages of a file name: the first hundred."""
    return list(copies[:_MOST_COPIES])


def name_copies(index: M3Index, file: StoredFile, copies: Sequence[str]) -> None:
    """Let the passages of a stored file name its copies."""
    if file.named != {tuple(named(copies))}:
        index.update_metadata(lambda p: with_copies(p.metadata, copies), sorted(file.ids))


def move(index: M3Index, old: str, new: str, file: StoredFile, copies: Sequence[str]) -> None:
    """Give the passages of a file to another one with the same content, without encoding them.

    Raises:
        InputError: The new ids are too long.
    """

    def moved(passage: Passage) -> Passage:
        metadata = with_copies({**passage.metadata, "source": new}, copies)
        return replace(
            passage,
            id=new + passage.id[len(old) :],
            document_id=new + (passage.document_id or old)[len(old) :],
            metadata=metadata,
        )

    found = (passage for passage in index.get(sorted(file.ids)) if passage is not None)
    index.rename({passage.id: moved(passage) for passage in found})
