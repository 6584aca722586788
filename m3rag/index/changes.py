"""What a sync did to an index, by document id."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Changes:
    """The result of a sync, by document id.

    Attributes:
        added: New documents.
        replaced: Documents that changed.
        unchanged: Documents that were complete already.
        removed: Documents that are no longer in the folder, or are excluded now.
        renamed: The new id of each document whose file was renamed or moved; nothing of it was
            encoded again.
        duplicates: The files with the same content as another one, which is stored in their place;
            the "copies" in the metadata of its passages name them.
        failed: Why a document, or a folder (its id ends with "/"), could not be read. The passages
            that the index has of it are kept.
        skipped: Why an entry with the name of a document is none: a pipe, a device, a link that is
            not followed.
        excluded: The pattern that excludes a file or a folder (its id ends with "/").
        other: How many files have a suffix that m3rag does not read, by suffix; "" for none.
        incomplete: What the passages of a document lack, such as pages that are images.
        passages: The number of passages encoded and stored by this run.
    """

    added: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    duplicates: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    other: dict[str, int] = field(default_factory=dict)
    incomplete: dict[str, str] = field(default_factory=dict)
    passages: int = 0
