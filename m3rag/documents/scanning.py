"""Finding the documents in a folder, and reporting everything that only looks like one.

A folder can contain anything: pipes, devices, links in a circle, names that are not text. None of
it may stop the others from being found, and none of it may be left out silently.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from m3rag.documents.formats.registry import format_for
from m3rag.documents.ignoring import IGNORE_FILE, Rules, read_patterns
from m3rag.documents.regular import kind_of, visible
from m3rag.errors import DocumentError
from m3rag.limits import DEFAULT_LIMITS, Limits

_FOLLOW = "Links are followed only with --follow-links, or follow_links=True."
_INDEX = {"m3rag.json", "passages.db"}  # a folder with these is an index, no place for documents
_ENVIRONMENT = "pyvenv.cfg"  # a folder with this file is a virtual environment of Python
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
        excluded: The pattern that excludes an entry; the path of a folder ends with "/", and
            nothing in it is listed.
        other: How many files have a suffix that m3rag does not read, by that suffix in lower case;
            "" counts those without one.
    """

    root: Path
    files: dict[str, Path] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    other: dict[str, int] = field(default_factory=dict)


def scan(
    folder: str | os.PathLike[str],
    *,
    exclude: Sequence[str] = (),
    follow_links: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    ocr: str | None = None,
) -> Listing:
    """List the documents in a folder and its subfolders, without those of indexes.

    Patterns with the syntax of .gitignore exclude entries: those in `exclude`, those in the files
    `.m3ragignore` of the folder and its subfolders, and by default hidden entries, the folders
    node_modules, __pycache__ and virtual environments of Python, and the files that office programs
    and desktops leave (`~$report.docx`, `Thumbs.db`). "!node_modules" includes them again.

    A symbolic link to a file in the same folder counts as a document if that file is not listed by
    itself. Other links are skipped unless `follow_links` is true. Every file is listed once, even
    if several links lead to it.

    Args:
        folder: The folder.
        exclude: Patterns of entries to leave out; they decide before those of the files.
        follow_links: Whether to follow links to folders, and links to files outside the folder.
        limits: `id_characters` limits the length of a path in the folder.
        ocr: The languages of OCR, as for `read`; only with it are images documents.

    Raises:
        DocumentError: The folder does not exist or cannot be listed, or its `.m3ragignore` cannot
            be used.
        InputError: `exclude` has something that is no pattern.
    """
    rules = Rules.of(exclude)
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
    images = ocr is not None
    return _Scan(folder, rules, follow_links=follow_links, limits=limits, images=images).run()


def is_index(folder: Path) -> bool:
    """Return whether a folder is that of an index."""
    return all((folder / name).exists() for name in _INDEX)


class _Scan:
    """One walk through a folder: first everything that is no link, then the links in order."""

    def __init__(
        self, folder: Path, rules: Rules, *, follow_links: bool, limits: Limits, images: bool
    ) -> None:
        self.listing = Listing(folder)
        self._real = os.path.realpath(folder)
        self._follow = follow_links
        self._limits, self._images = limits, images
        self._longest = int(limits.id_characters) - len(folder.name) - 1 - _NUMBER
        # Path to list, name to report, and the patterns of the folder that it is in.
        self._folders: list[tuple[str, str, Rules]] = [(str(folder), "", rules)]
        self._links: list[tuple[str, str, Rules]] = []
        self._seen: set[_Inode] = set()  # the folders and files that are listed already
        self._linked = False  # whether everything that is no link is listed

    def run(self) -> Listing:
        """Return the folder's content, each part sorted by name."""
        self._walk()
        self._linked = True
        while self._links:
            links = sorted(self._links, key=lambda link: link[1])
            self._links = []
            for path, name, rules in links:
                self._link(path, name, rules)
            self._walk()
        found = self.listing
        found.files = _sorted(found.files)
        found.failed = _sorted(found.failed)
        found.skipped = _sorted(found.skipped)
        found.excluded = _sorted(found.excluded)
        return found

    def _walk(self) -> None:
        while self._folders:
            path, name, rules = self._folders.pop()
            try:
                status = os.stat(path)
                if _inode(status) in self._seen and name:
                    self.listing.skipped[name] = "It is a folder that is read by another name."
                    continue
                self._remember(status)
                with os.scandir(path) as listed:
                    entries = list(listed)
                inside = {entry.name for entry in entries}
                if inside >= _INDEX or (_ENVIRONMENT in inside and self._is_default(name, rules)):
                    continue
                if IGNORE_FILE in inside:
                    within = None if self._follow else self.listing.root
                    file = Path(path, IGNORE_FILE)
                    rules = rules.within(read_patterns(file, name, self._limits, within))
                for entry in entries:
                    self._entry(entry, name + entry.name, rules)
            except DocumentError as error:  # what may be read of the folder is not known
                if not name:
                    raise
                self.listing.failed[name] = str(error)
            except OSError as error:
                self.listing.failed[name] = f"The folder cannot be listed: {error.strerror}."

    def _is_default(self, name: str, rules: Rules) -> bool:
        """Exclude a virtual environment unless a pattern includes it, and return whether it is."""
        if not name or rules.decide(name):
            return False
        self.listing.excluded[name] = f"{_ENVIRONMENT} (default)"
        return True

    def _entry(self, entry: os.DirEntry[str], name: str, rules: Rules) -> None:
        try:
            folder = entry.is_dir(follow_symlinks=False)
            link = entry.is_symlink()
            if self._is_excluded(f"{name}/" if folder else name, rules):
                return
            if not (folder or link or self._is_document(name)):
                self._count_other(name, entry.stat(follow_symlinks=False))
                return
            if (shown := visible(name)) != name:
                reason = "Its name is not UTF-8. Rename it."
                self.listing.failed[f"{shown}/" if folder else shown] = reason
            elif link:
                self._links.append((entry.path, name, rules))
            elif folder:
                self._folders.append((entry.path, f"{name}/", rules))
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

    def _is_excluded(self, name: str, rules: Rules) -> bool:
        """Note an entry that a pattern excludes, and return whether one does."""
        pattern = rules.decide(name)
        if pattern is None or not pattern.excludes:
            return False
        if not f"/{name}".endswith(f"/{IGNORE_FILE}"):
            self.listing.excluded[visible(name)] = pattern.name
        return True

    def _count_other(self, name: str, status: os.stat_result) -> None:
        """Count a file that has no suffix of a document."""
        if stat.S_ISREG(status.st_mode):
            suffix = visible(os.path.splitext(name)[1].lower())
            self.listing.other[suffix] = self.listing.other.get(suffix, 0) + 1

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

    def _link(self, path: str, name: str, rules: Rules) -> None:
        try:
            real = os.path.realpath(path, strict=True)
            status = os.stat(real)
        except OSError as error:
            if self._is_document(name) or self._follow:
                why = "to nothing" if isinstance(error, FileNotFoundError) else "in a circle"
                why = "that cannot be followed" if isinstance(error, PermissionError) else why
                self.listing.failed[name] = f"It is a link {why}. Repair or delete it."
            return
        folder = stat.S_ISDIR(status.st_mode)
        if not folder and not self._is_document(name):
            self._count_other(name, status)
            return
        if not (folder or stat.S_ISREG(status.st_mode)):
            skip = f"It is a link to {kind_of(status.st_mode)}."
        elif _inode(status) in self._seen:
            kind = "folder" if folder else "file"
            skip = f"It is a link to a {kind} that is read by another name."
        elif self._follow:
            if not folder:
                self._file(path, name, status)
            elif not self._is_excluded(f"{name}/", rules):
                self._folders.append((path, f"{name}/", rules))
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

    def _is_document(self, name: str) -> bool:
        suffix = os.path.splitext(name)[1].lower()
        return format_for(suffix, images=self._images) is not None

    def _remember(self, status: os.stat_result) -> None:
        if status.st_ino:  # 0 where the file system has no numbers
            self._seen.add(_inode(status))


def _sorted(entries: dict[str, _Value]) -> dict[str, _Value]:
    """Return entries in the order of their paths, as `sorted` orders paths."""
    return dict(sorted(entries.items(), key=lambda entry: entry[0].split("/")))


def _inode(status: os.stat_result) -> _Inode:
    return status.st_dev, status.st_ino
