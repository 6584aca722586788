"""Check, repair, back up and restore an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from m3rag.documents import Passage
from m3rag.encoder import Model
from m3rag.errors import FormatError, InputError
from m3rag.index.index import M3Index
from m3rag.index.manifest import read_manifest
from m3rag.index.presets import read_presets
from m3rag.progress import Progress, silent
from m3rag.stores.base import Location
from m3rag.stores.health import CheckReport, Count, Maintained, RepairReport
from m3rag.stores.location import locate

__all__ = ["CheckReport", "RepairReport", "backup", "check", "repair", "restore"]


def check(path: str | Path | Location, *, progress: Progress | None = None) -> CheckReport:
    """Verify an index: every checksum, that nothing is missing, and that its records can be read.

    The index may be open, in this process or in another. Reads everything: about a second per GB.

    Args:
        path: The folder of the index.
        progress: Called with (stage, done, total); the stage is "checking passages".

    Raises:
        InputError: The index is not in a folder.
        FormatError: There is no index.
        StorageError: It cannot be read.
    """
    location = locate(path)
    maintained = _maintained(location)
    if not location.exists() and not _has_files(location):
        raise FormatError(f"{location} is not an m3rag index.")
    report = maintained.check(_counting("checking passages", progress))
    problems = list(report.problems)
    if not problems:
        try:
            read_manifest(location)
            read_presets(location)
        except FormatError as error:
            problems.append(str(error))
    return replace(report, problems=tuple(problems))


def repair(
    path: str | Path | Location, *, model: Model | None = None, progress: Progress | None = None
) -> RepairReport:
    """Make a damaged index usable again, with everything in it that is intact.

    Nothing is deleted: a damaged file is kept beside the repaired one with the suffix `.damaged`.
    Passages whose text is intact but whose vectors are not are encoded again.

    Args:
        path: The folder of the index, which must not be open.
        model: The model that built the index; by default it is loaded by its name, if needed.
        progress: Called with (stage, done, total); the stages are "checking passages" and "adding
            passages".

    Returns:
        What was kept, lost and done. Documents with lost passages must be indexed again, for
        example with `m3rag index`.

    Raises:
        InputError: The index is not in a folder.
        FormatError: There is no index, or nothing of it can be restored.
        InUseError: The index is open.
        StorageError: It cannot be read or written.
    """
    location = locate(path)
    report = _maintained(location).repair(_counting("checking passages", progress))
    if report.again:
        with M3Index.open(location, model=model, create=False) as index:
            index.add(_with_context(index, report.again), progress=progress)
        again = f"{len(report.again)} passages with damaged vectors were encoded again."
        report = report.with_done([again])
    return report


def backup(path: str | Path | Location, to: str | Path, *, progress: Progress | None = None) -> int:
    """Copy an index to a new folder, also while it is open and changes.

    The copy has the passages of one moment. It is an index itself: open it, check it, or copy it
    back with `restore`. The copy is verified before the function returns.

    Args:
        path: The folder of the index.
        to: A folder that does not exist or is empty.
        progress: Called with (stage, done, total); the stage is "verifying the copy".

    Returns:
        The number of passages in the copy.

    Raises:
        InputError: The index is not in a folder.
        FormatError: There is no index, or it is damaged.
        StorageError: The target is not empty, or the copy cannot be written.
    """
    location = locate(path)
    read_manifest(location)
    maintained = _maintained(location)
    return maintained.backup(Path(to), _counting("verifying the copy", progress))


def restore(backup_folder: str | Path, to: str | Path, *, progress: Progress | None = None) -> int:
    """Copy a backup to a new folder after verifying it, and return the number of its passages.

    Raises:
        FormatError: The backup is damaged, or is not an index.
        StorageError: The target is not empty, or the copy cannot be written.
    """
    report = check(backup_folder, progress=progress)
    if not report.healthy:
        raise FormatError(f"The backup is damaged: {' '.join(report.problems)}")
    return backup(backup_folder, to, progress=progress)


def _with_context(index: M3Index, passages: Sequence[Passage]) -> list[Passage]:
    """Return the passages, and those that must be encoded together with them."""
    if index.manifest.context == "passage":
        return list(passages)
    documents = {p.document_id for p in passages if p.document_id is not None}
    rest = index.passages({"$document_id": sorted(documents)}) if documents else ()
    found = {p.id: p for p in [*passages, *rest]}
    return sorted(found.values(), key=lambda p: (p.document_id or "", p.start or 0))


def _maintained(location: Location) -> Maintained:
    if not isinstance(location, Maintained):
        raise InputError(f"An index in {location} cannot be checked or copied: only a folder can.")
    return location


def _has_files(location: Location) -> bool:
    return location.path is not None and (location.path / "passages.db").exists()


def _counting(stage: str, progress: Progress | None) -> Count:
    report = progress or silent

    def count(done: int, total: int | None, /) -> None:
        report(stage, done, total)

    return count
