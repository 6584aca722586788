"""A file as documents: its own, and one for each file in it, such as the attachments of a mail."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from m3rag.documents.document import Document
from m3rag.documents.formats.content import Budget, Content, Part
from m3rag.documents.formats.registry import CODE, Format, by_suffix, format_for
from m3rag.documents.parser_process import parse_apart
from m3rag.documents.parsing import in_this_process, parse
from m3rag.documents.signatures import mismatch
from m3rag.errors import DocumentError, MissingExtraError

_DEEPEST = 4  # files in files: a .pdf in a .zip in a .eml in an .mbox
_PARTS = 10_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(slots=True)
class Unpacked:
    """The documents of a file.

    Attributes:
        documents: Its own document, if it has text, then those of the files in it.
        own: Whether the first document is the file's own.
        failed: Why a file in it cannot be read, by the id that its document would have.
    """

    documents: list[Document] = field(default_factory=list)
    own: bool = False
    failed: dict[str, str] = field(default_factory=dict)


def unpack(
    data: bytes,
    form: Format,
    name: str,
    source: str,
    budget: Budget,
) -> Unpacked:
    """Return the documents of a file, from its content.

    Args:
        data: The content of the file.
        form: The format.
        name: The id of the file's document.
        source: The path to show in errors, and the "source" of its metadata.
        budget: What the parsers may use.

    Raises:
        DocumentError: The file itself cannot be read, or neither it nor a file in it has text.
        MissingExtraError: A library is not installed.
    """
    work = _Unpacking(budget)
    content = work.content(data, form, source)
    found = work.found
    work.add(content, form, name, source)
    found.own = bool(found.documents) and found.documents[0].id == name
    if not found.documents:
        reasons = "".join(f" {reason}" for reason in list(found.failed.values())[:1])
        if content.parts:
            raise DocumentError(
                f"{source} has no text, and none of the {len(content.parts)} files in it can be "
                f"read as a document.{reasons}"
            )
        raise DocumentError(f"{source} has no text. Add text or remove the file.")
    return found


def suffixes() -> str:
    """Return the suffixes of the documents that can be read, for an error message."""
    return " ".join(s for s, form in by_suffix().items() if not form.image and form not in CODE)


class _Unpacking:
    """One walk through a file and the files in it."""

    def __init__(self, budget: Budget) -> None:
        self.found = Unpacked()
        self._budget = budget
        self._bytes = budget.limits.expanded_bytes  # that may still be unpacked
        self._parts = _PARTS

    def content(self, data: bytes, form: Format, source: str) -> Content:
        """Parse a file.

        Raises:
            DocumentError: It cannot be read; the message names it.
            MissingExtraError: A library is not installed.
        """
        if not data:
            raise DocumentError(f"{source} is empty (0 bytes). Add text or remove the file.")
        kind = None if form.package else mismatch(data, form.name)
        if kind:
            raise DocumentError(
                f"{source} is {kind}, but its suffix says {form.name}. Give it the suffix of what "
                f"it is, or convert it to one of {suffixes()}."
            )
        form.check()
        try:
            if in_this_process(data, form):
                return parse(data, form, self._budget)
            return parse_apart(data, form, self._budget)
        except DocumentError as error:
            raise DocumentError(f"{source} cannot be read: {error}") from error

    def add(
        self, content: Content, form: Format, name: str, source: str, *, depth: int = 1
    ) -> None:
        """Add the document of a content, and those of its parts."""
        if content.text and not content.text.isspace():
            metadata = {**content.metadata, "source": source, "format": form.name}
            if content.title:
                metadata["title"] = content.title
            parts = content.text, content.headings, metadata, content.pages, content.notes
            self.found.documents.append(Document(name, *parts))
        for part, label in _named(content.parts):
            if self._bytes < 0 or self._parts < 0:
                break  # the failure of the part before says so
            suffix = PurePosixPath(label).suffix.lower()
            if inner := format_for(suffix, images=self._budget.ocr is not None):
                path = f"{source}/{label}"
                try:
                    self._check(part, path, depth)
                    found = self.content(part.data, inner, path)
                except (DocumentError, MissingExtraError) as error:
                    self.found.failed[f"{name}/{label}"] = str(error)
                else:
                    self.add(found, inner, f"{name}/{label}", path, depth=depth + 1)

    def _check(self, part: Part, path: str, depth: int) -> None:
        """Check that a part may be read.

        Raises:
            DocumentError: It is too deep or too long, or too much was unpacked before it.
        """
        self._bytes -= len(part.data)
        self._parts -= 1
        if self._bytes < 0 or self._parts < 0:
            most = self._budget.limits.expanded_bytes
            raise DocumentError(
                f"{path} and all after it are not read: the files in files have more than the "
                f"limit of {most:,} bytes, or are more than {_PARTS:,}. "
                "Unpack them, or raise the limit: Limits(expanded_bytes=…)."
            )
        if depth > _DEEPEST:
            raise DocumentError(
                f"{path} is not read: it is more than {_DEEPEST} files deep. Unpack them."
            )


def _named(parts: tuple[Part, ...]) -> Iterator[tuple[Part, str]]:
    """Yield the parts that have a name, each with a path without ".." that no other has."""
    used: Counter[str] = Counter()
    for part in parts:
        names = _CONTROL.sub(" ", part.name.replace("\\", "/")).split("/")
        path = PurePosixPath("/".join(n.strip() for n in names if n.strip() not in ("", ".", "..")))
        if path.name:
            used[str(path)] += 1
            if (number := used[str(path)]) > 1:
                path = path.with_name(f"{path.stem} ({number}){path.suffix}")
                used[str(path)] += 1
            yield part, str(path)
