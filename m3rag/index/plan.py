"""What an index must do so that it holds what a folder holds now, decided before anything is done.

A document is its content: the stamp of the file, and its suffix, which chooses the reader. Content
that several files share is stored once, under the name of one of them. Content that is stored under
a name that no longer has it gets a new name, and is neither read nor encoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from m3rag.index.stored_files import StoredFile

_Content = tuple[str, str]  # the suffix and the stamp


@dataclass(slots=True)
class Plan:
    """What is to be done, by document id.

    Attributes:
        kept: The documents that are stored as they are now.
        moves: (old id, new id) of the stored documents whose content another file has now, in an
            order in which none overwrites one that moves later.
        read: The documents that must be read and encoded.
        copies: The other files with the content of a document, for each of `kept`, `moves` (by new
            id) and `read`.
        stale: The stored documents to delete before anything else: their file is gone, or has the
            content of a stored one.
    """

    kept: list[str] = field(default_factory=list)
    moves: list[tuple[str, str]] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    copies: dict[str, list[str]] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)


def make_plan(
    stamps: Mapping[str, str | None], stored: Mapping[str, StoredFile], away: set[str]
) -> Plan:
    """Return what must be done.

    Args:
        stamps: The stamp of each file of the folder, by document id; None if it cannot be read.
        stored: What the index has of the folder.
        away: The stored documents, and their copies, that cannot be seen now. They are still there.
    """
    plan = Plan()
    holders: dict[_Content, list[str]] = {}
    for document, file in stored.items():
        if file.stamp is not None:
            holders.setdefault(_content(document, file.stamp), []).append(document)
    moves: dict[str, str] = {}  # new id: old id
    for content, names in _groups(stamps, stored, away).items():
        held = holders.get(content, [])
        name = next((name for name in names if name in held), names[0])
        if name in held:
            plan.kept.append(name)
        elif held:
            moves[name] = held[0]
        else:
            plan.read.append(name)
        plan.copies[name] = sorted(other for other in names if other != name)
    plan.moves = list(_in_order(moves))
    # Those that are left move in a circle, which is rare: they are encoded again.
    circle = moves.keys() - {new for _, new in plan.moves}
    places = {name: place for place, name in enumerate(stamps)}
    plan.read = sorted([*plan.read, *circle], key=places.__getitem__)
    plan.stale = _stale(plan, stored, away)
    return plan


def _content(document: str, stamp: str) -> _Content:
    return PurePosixPath(document).suffix.lower(), stamp


def _groups(
    stamps: Mapping[str, str | None], stored: Mapping[str, StoredFile], away: set[str]
) -> dict[_Content, list[str]]:
    """Return the documents with each content; those that can be seen come first."""
    groups: dict[_Content, list[str]] = {}
    for document, stamp in stamps.items():
        # What cannot be read has a content that no other has.
        content = (document, "") if stamp is None else _content(document, stamp)
        groups.setdefault(content, []).append(document)
    for document, file in stored.items():
        for name in (document, *file.copies):
            if file.stamp is not None and name in away:
                groups.setdefault(_content(document, file.stamp), []).append(name)
    return groups


def _in_order(moves: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (old id, new id), each after the content of its new id has moved; no circles."""
    waiting = dict(moves)
    olds = set(waiting.values())
    for end in [new for new in waiting if new not in olds]:
        new = end
        while (old := waiting.pop(new, None)) is not None:
            yield old, new
            new = old


def _stale(plan: Plan, stored: Mapping[str, StoredFile], away: set[str]) -> list[str]:
    """Return the stored documents that are deleted at once.

    The old passages of a document that is read stay until the new ones are stored, and so do those
    of its copies.
    """
    later = {name for read in plan.read for name in (read, *plan.copies[read])}
    moved = {old for old, _ in plan.moves}
    return sorted(stored.keys() - {*plan.kept, *moved, *later, *away})
