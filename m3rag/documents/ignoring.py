"""Which entries of a folder are left out: patterns with the syntax and the rules of .gitignore.

Patterns come from three places. Those that a caller passes decide first, then those of the
`.m3ragignore` files, the deepest folder first, then the defaults. In each place, the last pattern
that matches decides; one that starts with "!" includes what an earlier place or line excludes. A
folder that is left out is not looked into.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from m3rag.documents.regular import chunks, visible
from m3rag.errors import DocumentError, InputError
from m3rag.limits import Limits, shown

IGNORE_FILE = ".m3ragignore"
"""The name of the files with patterns."""
_DEFAULTS = (".*", "~$*", "[Tt]humbs.db", "[Dd]esktop.ini", "node_modules/", "__pycache__/")
_MOST = 10_000  # patterns in one place
_MOST_DEEP = 3  # "**" in a pattern: each multiplies the time by the length of a path
# In an expression of the library: "*", then something, then "*" again. The first place where
# something fits is the right one, and trying the others would take forever.
_STARS = re.compile(
    r"(?:\[\^/\]\*)+((?:\\.|\[\^/\](?!\*)|\[\^?[^\\\[\]/]+\]|[^\\\[\]()/*?.$])+)(?=\[\^/\]\*)"
)
# What regular expressions and .gitignore understand differently inside brackets.
_ODD_BRACKETS = re.compile(r"\[[^\]]*(?:\[|--|&&|\|\||~~)")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern.

    Attributes:
        name: What to call it, with its place, such as "*.log (exclude)".
        excludes: Whether it excludes what it matches; one that starts with "!" includes it.
        regex: The expression that a path must match, as the library makes it of the pattern.
    """

    name: str
    excludes: bool
    regex: re.Pattern[str]

    def matches(self, path: str) -> bool:
        """Return whether the pattern matches an entry itself, not only a folder above it."""
        if self.regex.pattern.startswith("^"):
            return self.regex.fullmatch(path) is not None
        return self.regex.search(path[-1:]) is not None  # of "*" and "*/", which match anywhere


@dataclass(frozen=True, slots=True)
class Place:
    """The patterns of one place, the last one first.

    Attributes:
        base: The folder they are relative to, as its path in the scanned folder; "" for that
            folder itself, else with "/" at its end.
        patterns: The patterns.
    """

    base: str
    patterns: tuple[Pattern, ...]

    def decide(self, path: str) -> Pattern | None:
        """Return the pattern that decides on a path below `base`; None if there is none."""
        inner = path[len(self.base) :].replace("\n", "\r")  # "." of the library matches no "\n"
        return next((pattern for pattern in self.patterns if pattern.matches(inner)), None)


@dataclass(frozen=True, slots=True)
class Rules:
    """The patterns that apply in a folder, those that decide first at the start."""

    places: tuple[Place, ...]

    @classmethod
    def of(cls, exclude: Sequence[str]) -> Rules:
        """Return the patterns of a caller, and the defaults.

        Raises:
            InputError: A pattern cannot be used.
        """
        if isinstance(exclude, str) or not all(isinstance(line, str) for line in exclude):
            raise InputError(
                f'`exclude` must be a list of patterns such as ["*.log"], got {shown(exclude)}.'
            )
        given = [_pattern(line, "exclude", InputError) for line in exclude]
        defaults = [_pattern(line, "default", InputError) for line in _DEFAULTS]
        return cls((Place("", tuple(given[::-1])), Place("", tuple(defaults[::-1]))))

    def within(self, place: Place) -> Rules:
        """Return the rules of a folder with patterns of its own."""
        first, *others = self.places
        return Rules((first, place, *others))

    def decide(self, path: str) -> Pattern | None:
        """Return the pattern that decides on a path; None if there is none.

        Args:
            path: The path in the scanned folder; that of a folder ends with "/".
        """
        decisions = (place.decide(path) for place in self.places)
        return next((pattern for pattern in decisions if pattern is not None), None)


def read_patterns(path: Path, base: str, limits: Limits, within: Path | None) -> Place:
    """Read the patterns of a file.

    Args:
        path: The file.
        base: See `Place`.
        limits: `file_bytes` is the largest size.
        within: A folder above the file. No link below it is followed.

    Raises:
        DocumentError: The file cannot be read, or a line of it is no pattern.
    """
    name = f"{visible(base)}{IGNORE_FILE}"
    try:
        text = b"".join(chunks(path, limits, within=within)).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(
            f"{name} is not UTF-8: byte {error.start:,}. Save it as UTF-8."
        ) from None
    lines = [
        (number, line.removesuffix("\r"))
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip() and not line.startswith("#")
    ]
    if len(lines) > _MOST:
        raise DocumentError(
            f"{name} has {len(lines):,} patterns, more than the limit of {_MOST:,}. Join some."
        )
    patterns = [_pattern(line, f"{name}, line {number}", DocumentError) for number, line in lines]
    return Place(base, tuple(patterns[::-1]))


def _pattern(line: str, place: str, error: type[DocumentError | InputError]) -> Pattern:
    whole = re.sub(r"/\*\*\s*$", "/**/*", line)  # what is in a folder, not the folder itself
    found = None
    with suppress(ValueError, re.error):
        if not _ODD_BRACKETS.search(line) and line.count("**") <= _MOST_DEEP:
            found = next(iter(GitIgnoreSpec.from_lines([whole], backend="simple").patterns), None)
    if found is None or found.include is None or found.regex is None:
        raise error(
            f"{place}: {shown(line)} is no pattern. Use one such as *.log, drafts/ or !keep.log, "
            f'with the syntax of .gitignore and at most {_MOST_DEEP} "**".'
        )
    regex = re.compile(_STARS.sub(r"(?>[^/]*?\1)", found.regex.pattern))
    return Pattern(f"{line.strip()} ({place})", found.include, regex)
