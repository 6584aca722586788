r"""Reading files as documents.

All line ends of a file become "\n" before anything else, so that spans count the same characters on
every system. Markdown and plain text are otherwise unchanged, so that spans point into the author's
own words.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from m3rag.documents.document import Document
from m3rag.documents.formats.content import Budget
from m3rag.documents.formats.registry import BY_SUFFIX, Format
from m3rag.documents.parser_process import parse_apart
from m3rag.documents.parsing import in_this_process, parse
from m3rag.documents.regular import cannot_read, chunks, visible
from m3rag.documents.scanning import scan
from m3rag.documents.signatures import mismatch
from m3rag.errors import DocumentError, InputError
from m3rag.limits import DEFAULT_LIMITS, Limits

_SUFFIXES = " ".join(BY_SUFFIX)


def read(
    path: str | os.PathLike[str], *, id: str | None = None, limits: Limits = DEFAULT_LIMITS
) -> Document:
    r"""Read a file as a document.

    HTML, PDF and Word files, and large Markdown files, are parsed in a process of their own, which
    ends if one takes too much time or memory.

    Args:
        path: A .md, .markdown, .txt, .html, .htm, .pdf or .docx file. Text must be UTF-8, or UTF-16
            with a byte order mark; HTML may declare another encoding.
        id: The document's permanent identifier; by default, the path as given, with "/" between
            its parts.
        limits: How large the file and its text may be, and how long reading may take.

    Returns:
        The document; its metadata has "source", "format" and, if the file has a title, "title".

    Raises:
        DocumentError: The file does not exist, is not a regular file, cannot be read, has an
            unknown format or content of another format, is damaged or encrypted, is above a limit,
            or has no text.
        InputError: The id is not valid Unicode.
        MissingExtraError: A library of the extra `documents` is not installed.
    """
    path = Path(path)
    form = _format(path)
    name = _id(path, id)
    return load(path, form, name, limits=limits)[0]


def load(
    path: Path,
    form: Format,
    name: str,
    *,
    limits: Limits,
    within: Path | None = None,
    salt: str = "",
) -> tuple[Document, str]:
    """Read a file as a document of a format; also return the SHA-256 of the bytes that were read.

    Args:
        path: The file.
        form: The format.
        name: The document's id.
        limits: How large the file and its text may be, and how long reading may take.
        within: A folder above the file. No link below it is followed.
        salt: A text that starts what is hashed.

    Raises:
        DocumentError: As for `read`.
        MissingExtraError: As for `read`.
    """
    data = b"".join(chunks(path, limits, within=within))
    shown = visible(path)
    if not data:
        raise DocumentError(f"{shown} is empty (0 bytes). Add text or remove the file.")
    if found := mismatch(data, form.name):
        raise DocumentError(
            f"{shown} is {found}, but its suffix says {form.name}. Give it the suffix of what it "
            f"is, or convert it to one of {_SUFFIXES}."
        )
    form.check()
    try:
        if in_this_process(data, form):
            content = parse(data, form, Budget(limits))
        else:
            content = parse_apart(data, form, limits)
    except DocumentError as error:
        raise DocumentError(f"{shown} cannot be read: {error}") from error
    if not content.text or content.text.isspace():
        raise DocumentError(f"{shown} has no text. Add text or remove the file.")
    metadata = {"source": visible(path.as_posix()), "format": form.name}
    if content.title:
        metadata["title"] = content.title
    digest = hashlib.sha256(salt.encode())
    digest.update(data)
    document = Document(name, content.text, content.headings, metadata, content.pages)
    return document, digest.hexdigest()


def find(folder: str | os.PathLike[str], *, follow_links: bool = False) -> list[Path]:
    """Return the files under a folder that `read` can read, sorted, without hidden ones.

    Everything else is left out: pipes and devices, links that leave the folder, folders that
    cannot be listed. `scan` also returns what is left out, with the reasons.

    Args:
        folder: The folder.
        follow_links: Whether to follow links to folders, and links to files outside the folder.

    Raises:
        DocumentError: The folder does not exist or cannot be listed.
    """
    listing = scan(folder, follow_links=follow_links)
    return [listing.root / name for name in listing.files]


def format_of(name: str) -> Format:
    """Return the format that the suffix of a file's name stands for.

    Raises:
        DocumentError: The suffix is unknown.
    """
    suffix = Path(name).suffix
    if form := BY_SUFFIX.get(suffix.lower()):
        return form
    found = f"the unknown suffix {suffix!r}" if suffix else "no suffix"
    raise DocumentError(f"{visible(name)} has {found}. Convert it to one of {_SUFFIXES}.")


def _format(path: Path) -> Format:
    """Return the format that a file's suffix names, if there is such a file."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise cannot_read(path, error) from None
    if stat.S_ISDIR(status.st_mode):
        raise DocumentError(f"{visible(path)} is a folder. List its documents with find().")
    return format_of(str(path))


def _id(path: Path, id: str | None) -> str:
    name = path.as_posix() if id is None else id
    if not isinstance(name, str) or visible(name) != name:
        given = "The path" if id is None else "The id"
        raise InputError(
            f"{given} {visible(name)!r} is not valid Unicode, so it cannot be a document's id. "
            "Pass another id=."
        )
    return name
