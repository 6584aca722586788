"""Zip archives, such as Office files and e-books, unpacked within limits."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO

from m3rag.documents.signatures import OLE
from m3rag.errors import DocumentError
from m3rag.limits import Limits, brief

_PIECE = 1 << 16  # bytes to decompress at a time
_PARTS = 10_000
_SMALL = 16 << 20  # bytes of an archive whose ratio does not matter


class Archive:
    """A zip archive whose members are decompressed when they are read, and never beyond limits.

    The sizes in its directory are checked first; then no member is decompressed beyond the size in
    the directory, which may be wrong.

    Args:
        data: The file.
        limits: `expanded_bytes` and `archive_ratio`.

    Raises:
        DocumentError: It has too many members or too much in them, or is damaged.
    """

    def __init__(self, data: bytes, limits: Limits) -> None:
        with _damage():
            self._zip = zipfile.ZipFile(BytesIO(data))
        self.members = {member.filename: member for member in self._zip.infolist()}
        _check(list(self.members.values()), len(data), limits)

    def read(self, name: str) -> bytes:
        """Return a member, or nothing if there is none of that name.

        Raises:
            DocumentError: It is encrypted or damaged.
        """
        if name not in self.members:
            return b""
        if self.members[name].flag_bits & 1:
            raise encrypted()
        with _damage():
            return _expanded(self._zip, self.members[name])


def xml_parts(
    data: bytes,
    limits: Limits,
    *,
    also: tuple[str, ...] = (),
    change: Callable[[bytes], bytes] = bytes,
) -> bytes:
    """Return an uncompressed copy of an Office file with all its XML; other parts are empty.

    Images, fonts and embedded files are never decompressed.

    Args:
        data: The file.
        limits: `expanded_bytes` and `archive_ratio`.
        also: The ends of the names of other parts to keep.
        change: Returns what is to stand in the copy in place of a part that is kept.

    Raises:
        DocumentError: The file has too many parts or too much in them, or is damaged.
    """
    archive = Archive(data, limits)
    kept = (".xml", ".rels", *also)
    copy = BytesIO()
    with zipfile.ZipFile(copy, "w") as plain:
        for name in archive.members:
            part = change(archive.read(name)) if name.lower().endswith(kept) else b""
            plain.writestr(name, part)
    return copy.getvalue()


def encrypted() -> DocumentError:
    """Return the error for a file that needs a password."""
    return DocumentError("it is encrypted. Save a copy without a password.")


def refuse_old(data: bytes, suffix: str) -> None:
    """Check that an Office file is none of before 2007.

    Args:
        data: The file.
        suffix: The suffix of such an old file, such as ".doc".

    Raises:
        DocumentError: It is one, or a new one that is encrypted: they have the same container.
    """
    if data.startswith(OLE):
        raise DocumentError(
            f"it is encrypted, or an old {suffix} file with the suffix {suffix}x. Save it as "
            f"{suffix}x without a password."
        )


@contextmanager
def _damage() -> Iterator[None]:
    """Turn what zipfile raises for a damaged archive into one error."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, EOFError) as error:
        raise DocumentError(
            f"it is a damaged archive: {brief(error)}. Open it in the program that created it and "
            "save it again."
        ) from error


def _check(members: list[zipfile.ZipInfo], size: int, limits: Limits) -> None:
    if len(members) > _PARTS:
        raise DocumentError(
            f"its archive has {len(members):,} parts, more than {_PARTS:,}. Split it, or save it "
            "again in the program that created it."
        )
    expanded = sum(member.file_size for member in members)
    if expanded > limits.expanded_bytes:
        raise DocumentError(
            f"its parts have {expanded:,} bytes after decompression, more than the limit of "
            f"{limits.expanded_bytes:,}. Split it, or raise the limit: Limits(expanded_bytes=…)."
        )
    if expanded > _SMALL and expanded > limits.archive_ratio * size:
        raise DocumentError(
            f"its parts have {expanded:,} bytes after decompression, {expanded // size:,} times "
            f"its size of {size:,}; the limit is {limits.archive_ratio:,} times. Save it "
            "again in the program that created it, or raise the limit: Limits(archive_ratio=…)."
        )


def _expanded(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Return a part. `read` without a size would decompress all that there is, then cut it."""
    pieces = []
    with archive.open(member) as part:
        while piece := part.read(_PIECE):
            pieces.append(piece)
    return b"".join(pieces)
