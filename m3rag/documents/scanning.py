"""Finding the documents in a folder, and reporting everything that only looks like one.

A folder can contain anything: pipes, devices, links in a circle, names that are not text. None of
it may stop the others from being found, and none of it may be left out silently.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from m3rag.documents.formats.registry import by_suffix
from m3rag.documents.regular import kind_of, visible
from m3rag.errors import DocumentError
from m3rag.limits import DEFAULT_LIMITS, Limits

_FOLLOW = "Links are followed only with --follow-links, or follow_links=True."
_INDEX = {"m3rag.json", "passages.db"}  # a folder with these is an index, no place for documents
_NUMBER = 12  # characters of "#" and the number of a passage, which follow the id of its document
_Value = TypeVar("_Value")
_Inode = tuple[int, int]


@dataclass(slots=True)
class Listing:
    """What a folder contains, by the path in the folder with "/" between its parts.

    Attributes:
        root: The folder.
        files: The path to open for each document. No part of it below the folder is a link, unless
            links are followed.
        failed: Why a document, or a folder (its path ends with "/"), cannot be read.
        skipped: Why an entry with the name of a document is none, or is not followed.
    """

    root: Path
    files: dict[str, Path] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def scan(
    folder: str | os.PathLike[str],
    *,
    follow_links: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Listing:
    """List the documents in a folder and its subfolders, without hidden ones and those of indexes.

    A symbolic link to a file in the same folder counts as a document if that file is not listed by
    itself. Other links are skipped unless `follow_links` is true. Every file is listed once, even
    if several links lead to it.

    Args:
        folder: The folder.
        follow_links: Whether to follow links to folders, and links to files outside the folder.
        limits: `id_characters` limits the length of a path in the folder.

    Raises:
        DocumentError: The folder does not exist or cannot be listed.
    """
    folder = Path(folder)
    try:
        if not folder.is_dir():
            kind = "is a file, not a folder" if folder.exists() else "does not exist"
            raise DocumentError(f"{visible(folder)} {kind}. Pass the folder with the documents.")
        os.scandir(folder).close()
    except OSError as error:
        raise DocumentError(
            f"{visible(folder)} cannot be listed: {error.strerror}. Change its permissions."
        ) from error
    return _Scan(folder, follow_links=follow_links, limits=limits).run()


class _Scan:
    """One walk through a folder: first everything that is no link, then the links in order."""

    def __init__(self, folder: Path, *, follow_links: bool, limits: Limits) -> None:
        self.listing = Listing(folder)
        self._real = os.path.realpath(folder)
        self._follow = follow_links
        self._longest = int(limits.id_characters) - len(folder.name) - 1 - _NUMBER
        self._folders: list[tuple[str, str]] = [(str(folder), "")]  # path to list, name to report
        self._links: list[tuple[str, str]] = []
        self._seen: set[_Inode] = set()  # the folders and files that are listed already
        self._linked = False  # whether everything that is no link is listed

    def run(self) -> Listing:
        """Return the folder's content, each part sorted by name."""
        self._walk()
        self._linked = True
        while self._links:
            links = sorted(self._links, key=lambda link: link[1])
            self._links = []
            for path, name in links:
                self._link(path, name)
            self._walk()
        found = self.listing
        found.files = _sorted(found.files)
        found.failed = _sorted(found.failed)
        found.skipped = _sorted(found.skipped)
        return found

    def _walk(self) -> None:
        while self._folders:
            path, name = self._folders.pop()
            try:
                status = os.stat(path)
                if _inode(status) in self._seen and name:
                    self.listing.skipped[name] = "It is a folder that is read by another name."
                    continue
                self._remember(status)
                with os.scandir(path) as listed:
                    entries = [entry for entry in listed if not entry.name.startswith(".")]
                if {entry.name for entry in entries} >= _INDEX:
                    continue
                for entry in entries:
                    self._entry(entry, name + entry.name)
            except OSError as error:
                self.listing.failed[name] = f"The folder cannot be listed: {error.strerror}."

    def _entry(self, entry: os.DirEntry[str], name: str) -> None:
        try:
            folder = entry.is_dir(follow_symlinks=False)
            link = entry.is_symlink()
            if not (folder or link or _is_document(name)):
                return
            if (shown := visible(name)) != name:
                reason = "Its name is not UTF-8. Rename it."
                self.listing.failed[f"{shown}/" if folder else shown] = reason
            elif link:
                self._links.append((entry.path, name))
            elif folder:
                self._folders.append((entry.path, f"{name}/"))
            else:
                status = entry.stat(follow_symlinks=False)
                if self._linked and _inode(status) in self._seen:
                    self.listing.skipped[name] = "It is a file that is read by another name."
                else:
                    self._file(entry.path, name, status)
        except FileNotFoundError:
            return  # it was deleted just now
        except OSError as error:
            self.listing.failed[visible(name)] = f"It cannot be read: {error.strerror}."

    def _file(self, path: str, name: str, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            self.listing.skipped[name] = f"It is {kind_of(status.st_mode)}, not a file."
        elif len(name) > self._longest:
            self.listing.failed[name] = (
                f"Its path has {len(name):,} characters, more than the limit of "
                f"{self._longest:,}. Move it up, or shorten the names of its folders."
            )
        else:
            self._remember(status)
            self.listing.files[name] = Path(path)

    def _link(self, path: str, name: str) -> None:
        try:
            real = os.path.realpath(path, strict=True)
            status = os.stat(real)
        except OSError as error:
            if _is_document(name) or self._follow:
                why = "to nothing" if isinstance(error, FileNotFoundError) else "in a circle"
                why = "that cannot be followed" if isinstance(error, PermissionError) else why
                self.listing.failed[name] = f"It is a link {why}. Repair or delete it."
            return
        folder = stat.S_ISDIR(status.st_mode)
        if not folder and not _is_document(name):
            return
        if not (folder or stat.S_ISREG(status.st_mode)):
            skip = f"It is a link to {kind_of(status.st_mode)}."
        elif _inode(status) in self._seen:
            kind = "folder" if folder else "file"
            skip = f"It is a link to a {kind} that is read by another name."
        elif self._follow:
            if folder:
                self._folders.append((path, f"{name}/"))
            else:
                self._file(path, name, status)
            return
        elif folder:
            skip = f"It is a link to a folder. {_FOLLOW}"
        elif not real.startswith(os.path.join(self._real, "")):
            skip = f"It is a link to a file outside the folder. {_FOLLOW}"
        else:
            within = os.path.relpath(real, self._real)
            self._file(os.path.join(self.listing.root, within), name, status)
            return
        self.listing.skipped[name] = skip

    def _remember(self, status: os.stat_result) -> None:
        if status.st_ino:  # 0 where the file system has no numbers
            self._seen.add(_inode(status))


def _sorted(entries: dict[str, _Value]) -> dict[str, _Value]:
    """Return entries in the order of their paths, as `sorted` orders paths."""
    return dict(sorted(entries.items(), key=lambda entry: entry[0].split("/")))


def _inode(status: os.stat_result) -> _Inode:
    return status.st_dev, status.st_ino


def _is_document(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in by_suffix()
