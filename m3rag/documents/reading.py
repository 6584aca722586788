r"""Reading files as documents.

All line ends of a file become "\n" before anything else, so that spans count the same characters on
every system. Markdown and plain text are otherwise unchanged, so that spans point into the author's
own words.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from pathlib import Path

from m3rag.documents.document import Document
from m3rag.documents.formats.content import Content
from m3rag.documents.formats.registry import BY_SUFFIX, Format
from m3rag.errors import DocumentError, MissingExtraError

# Longest first: the byte order mark of UTF-32 starts with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SUFFIXES = " ".join(BY_SUFFIX)


def read(path: str | os.PathLike[str], *, id: str | None = None) -> Document:
    r"""Read a file as a document.

    Args:
        path: A .md, .markdown, .txt, .html, .htm, .pdf or .docx file. Text must be UTF-8, or UTF-16
            with a byte order mark; HTML may declare another encoding.
        id: The document's permanent identifier; by default, the path as given, with "/" between
            its parts.

    Returns:
        The document; its metadata has "source", "format" and, if the file has a title, "title".

    Raises:
        DocumentError: The file does not exist, cannot be read, has an unknown format, is damaged
            or encrypted, or has no text.
        MissingExtraError: A library of the extra `documents` is not installed.
    """
    path = Path(path)
    form = _format(path)
    data = _bytes(path)
    try:
        content = _parse(data, form)
    except MissingExtraError:
        raise
    except DocumentError as error:
        raise DocumentError(f"{path} cannot be read: {error}") from error
    except Exception as error:  # parsers raise anything on a damaged file
        raise DocumentError(
            f"{path} is damaged, or its suffix is wrong: {type(error).__name__}: {error}. "
            "Open it in the program that created it and save it again."
        ) from error
    if not content.text.strip():
        raise DocumentError(f"{path} has no text. Add text or remove the file.")
    metadata = {"source": path.as_posix(), "format": form.name}
    if content.title:
        metadata["title"] = content.title
    name = path.as_posix() if id is None else id
    return Document(name, content.text, content.headings, metadata, content.pages)


def find(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the files under a folder that `read` can read, sorted, without hidden ones.

    Raises:
        DocumentError: The folder does not exist, or a folder in it cannot be listed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        kind = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DocumentError(f"{folder} {kind}. Pass the folder with the documents.")
    return sorted(_walk(folder))


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=_raise_unlistable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(parent, name)
            if not name.startswith(".") and path.suffix.lower() in BY_SUFFIX:
                yield path


def _raise_unlistable(error: OSError) -> None:
    raise DocumentError(f"{error.filename} cannot be listed: {error.strerror}.") from error


def _format(path: Path) -> Format:
    """Return the format that a file's suffix names."""
    if path.is_dir():
        raise DocumentError(f"{path} is a folder. List its documents with find().")
    form = BY_SUFFIX.get(path.suffix.lower())
    if form is not None:
        return form
    if not path.exists():
        raise DocumentError(f"{path} does not exist.")
    found = f"the unknown suffix {path.suffix!r}" if path.suffix else "no suffix"
    raise DocumentError(f"{path} has {found}. Convert it to one of {_SUFFIXES}.")


def _bytes(path: Path) -> bytes:
    """Return the content of a file; every failure is a `DocumentError`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DocumentError(f"{path} does not exist.") from None
    except PermissionError as error:
        raise DocumentError(
            f"{path} cannot be read: permission denied. Change its permissions."
        ) from error
    except OSError as error:
        raise DocumentError(f"{path} cannot be read: {error.strerror}.") from error
    if not data:
        raise DocumentError(f"{path} is empty (0 bytes). Add text or remove the file.")
    return data


def _parse(data: bytes, form: Format) -> Content:
    form.check()
    if form.binary:
        return form.parse(data)
    return form.parse(_decode(data, _declared(data) if form.name == "html" else None))


def _declared(data: bytes) -> str | None:
    """Return the encoding that a page declares, if Python supports it."""
    from bs4.dammit import EncodingDetector

    name = EncodingDetector.find_declared_encoding(data, is_html=True) or "utf-8"
    try:
        codec = codecs.lookup(name).name
    except LookupError:
        return None
    # As in browsers, Latin-1 and ASCII mean Windows-1252, and a declaration of UTF-16 is wrong:
    # in UTF-16, the declaration itself could not have been read as bytes.
    if codec in ("iso8859-1", "ascii"):
        return "cp1252"
    return None if codec.startswith("utf-") else codec


def _decode(data: bytes, declared: str | None) -> str:
    """Decode by the byte order mark, else as declared, else as UTF-8, without guessing."""
    mark, encoding = next(
        ((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", declared or "utf-8")
    )
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise DocumentError(
            f"byte {error.start + len(mark)} is not {encoding.upper()}. Save the file as UTF-8, "
            "for example with `iconv -f WINDOWS-1252 -t UTF-8 old > new`."
        ) from error
    if (at := text.find("\0")) >= 0:
        raise DocumentError(
            f"character {at} is NUL, so it is a binary file, or UTF-16 without a byte order mark. "
            "Convert it to UTF-8 text."
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")
