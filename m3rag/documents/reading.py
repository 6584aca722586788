r"""Reading files as documents.

All line ends of a file become "\n" before anything else, so that spans count the same characters on
every system. Markdown and plain text are otherwise unchanged, so that spans point into the author's
own words.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Sequence
from pathlib import Path

from m3rag.documents.document import Document
from m3rag.documents.encodings import known_encoding
from m3rag.documents.formats.content import ALL_FIELDS, Budget, Fields
from m3rag.documents.formats.registry import Format, format_for
from m3rag.documents.ocr import checked_languages
from m3rag.documents.regular import cannot_read, chunks, visible
from m3rag.documents.scanning import scan
from m3rag.documents.unpacking import Unpacked, suffixes, unpack
from m3rag.errors import DocumentError, IncompleteDocumentWarning, InputError
from m3rag.limits import DEFAULT_LIMITS, Limits, shown


def read(
    path: str | os.PathLike[str],
    *,
    id: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    fields: Fields = ALL_FIELDS,
    encoding: str | None = None,
    ocr: str | None = None,
) -> Document:
    r"""Read a file as a document.

    All but plain text and small Markdown files are parsed in a process of their own, which ends if
    one takes too much time or memory.

    Args:
        path: A file of a format that m3rag reads (docs/documents.md has the list). Text must be
            UTF-8 or UTF-16; HTML and XML may declare another encoding.
        id: The document's permanent identifier; by default, the path as given, with "/" between
            its parts.
        limits: How large the file and its text may be, and how long reading may take.
        fields: Which fields of the records of a .csv, .json or .jsonl file are read.
        encoding: The encoding, such as "windows-1251", of a text file that is not UTF-8 and does
            not say what it is; without it, such a file is refused.
        ocr: The languages in which Tesseract reads images and pages that are images, such as "eng"
            or "eng+ara"; None to read none. The program and its languages must be installed.

    Returns:
        The document; its metadata has "source", "format" and, if the file has a title, "title".
        `read_all` also returns the files in the file. If a part cannot be read, such as pages that
        are images, its `notes` say so, and an `IncompleteDocumentWarning` does.

    Raises:
        DocumentError: The file does not exist, is not a regular file, cannot be read, has an
            unknown format or content of another format, is damaged or encrypted, is above a limit,
            or has no text.
        InputError: The id is not valid Unicode, the encoding is unknown, or OCR is asked for and
            Tesseract or one of the languages is not installed.
        MissingExtraError: A library of the extra `documents` is not installed.
    """
    path = Path(path)
    unpacked = _unpacked(path, id, budget_for(limits, fields, encoding, ocr))
    if unpacked.own:
        _warn(unpacked.documents[:1])
        return unpacked.documents[0]
    raise DocumentError(
        f"{visible(path)} has no text of its own, but {len(unpacked.documents)} documents in it. "
        "Read them with read_all()."
    )


def read_all(
    path: str | os.PathLike[str],
    *,
    id: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    fields: Fields = ALL_FIELDS,
    encoding: str | None = None,
    ocr: str | None = None,
) -> list[Document]:
    """Read a file and the files in it, such as the attachments of a mail, as documents.

    Args:
        path: As for `read`; also a .zip or .mbox file.
        id: As for `read`. The id of a file in it is that id, "/" and its name.
        limits: As for `read`. `expanded_bytes` also limits all files in the file together.
        fields: As for `read`.
        encoding: As for `read`.
        ocr: As for `read`.

    Returns:
        The document of the file, if it has text of its own, then those of the files in it. Files
        in it of a format that m3rag does not read are left out.

    Raises:
        DocumentError: As for `read`, or one of the files in it cannot be read.
        InputError: As for `read`.
        MissingExtraError: As for `read`.
    """
    unpacked = _unpacked(Path(path), id, budget_for(limits, fields, encoding, ocr))
    for reason in unpacked.failed.values():
        raise DocumentError(reason)
    _warn(unpacked.documents)
    return unpacked.documents


def _warn(documents: Sequence[Document]) -> None:
    """Warn of what documents lack, for the caller of the function that calls this one."""
    for document in documents:
        for note in document.notes:
            source = document.metadata["source"]
            warnings.warn(f"{source}: {note}", IncompleteDocumentWarning, stacklevel=3)


def _unpacked(path: Path, id: str | None, budget: Budget) -> Unpacked:
    form, name = _format(path), _id(path, id)
    data = b"".join(chunks(path, budget.limits))
    return unpack(data, form, name, visible(path.as_posix()), budget)


def budget_for(
    limits: Limits, fields: Fields, encoding: str | None, ocr: str | None = None
) -> Budget:
    """Return what the parsers may use, from the arguments of a caller, as for `read`.

    Raises:
        InputError: There is no such encoding, or OCR in these languages is not possible.
    """
    codec, languages = checked_encoding(encoding), checked_languages(ocr)
    return Budget(limits, fields=fields, encoding=codec, ocr=languages)


def checked_encoding(name: str | None) -> str | None:
    """Return Python's codec for the encoding that a caller names.

    Raises:
        InputError: There is no such encoding.
    """
    codec = None if name is None else known_encoding(name)
    if name is not None and codec is None:
        raise InputError(
            f"The encoding {shown(name)} is unknown. Use a name such as windows-1251, shift_jis, "
            "gb18030 or utf-16."
        )
    return codec


def find(
    folder: str | os.PathLike[str], *, exclude: Sequence[str] = (), follow_links: bool = False
) -> list[Path]:
    """Return the files under a folder that `read` can read, sorted, without hidden ones.

    Everything else is left out: pipes and devices, links that leave the folder, folders that
    cannot be listed. `scan` also returns what is left out, with the reasons.

    Args:
        folder: The folder.
        exclude: Patterns of what to leave out, as for `scan`.
        follow_links: Whether to follow links to folders, and links to files outside the folder.

    Raises:
        DocumentError: As for `scan`.
        InputError: As for `scan`.
    """
    listing = scan(folder, exclude=exclude, follow_links=follow_links)
    return [listing.root / name for name in listing.files]


def format_of(name: str) -> Format:
    """Return the format that the suffix of a file's name stands for.

    Raises:
        DocumentError: The suffix is unknown.
    """
    suffix = Path(name).suffix
    if form := format_for(suffix.lower()):
        return form
    found = f"the unknown suffix {suffix!r}" if suffix else "no suffix"
    raise DocumentError(f"{visible(name)} has {found}. Convert it to one of {suffixes()}.")


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
