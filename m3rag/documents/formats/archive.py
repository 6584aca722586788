"""The XML parts of an Office file, unpacked within limits."""

from __future__ import annotations

import zipfile
from io import BytesIO

from m3rag.errors import DocumentError
from m3rag.limits import Limits

_PIECE = 1 << 16  # bytes to decompress at a time
_PARTS = 10_000
_SMALL = 16 << 20  # bytes of an archive whose ratio does not matter


def xml_parts(data: bytes, limits: Limits) -> bytes:
    """Return an uncompressed copy of an Office file with all its XML; other parts are empty.

    Images, fonts and embedded files are never decompressed. The sizes in the directory are checked
    first; then no part is decompressed beyond the size in the directory, which may be wrong.

    Args:
        data: The file.
        limits: `expanded_bytes` and `archive_ratio`.

    Raises:
        DocumentError: The file has too many parts or too much in them, or is damaged.
    """
    copy = BytesIO()
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive, zipfile.ZipFile(copy, "w") as plain:
            members = {member.filename: member for member in archive.infolist()}
            _check(list(members.values()), len(data), limits)
            for name, member in members.items():
                plain.writestr(name, _expanded(archive, member) if _is_xml(name) else b"")
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        raise DocumentError(
            f"it is a damaged archive: {error}. Open it in Word and save it again."
        ) from error
    return copy.getvalue()


def _check(members: list[zipfile.ZipInfo], size: int, limits: Limits) -> None:
    if len(members) > _PARTS:
        raise DocumentError(
            f"its archive has {len(members):,} parts, more than {_PARTS:,}. Open it in Word and "
            "save it again."
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
            f"its size of {size:,}; the limit is {limits.archive_ratio:,} times. Open it in Word "
            "and save it again, or raise the limit: Limits(archive_ratio=…)."
        )


def _is_xml(name: str) -> bool:
    return name.lower().endswith((".xml", ".rels"))


def _expanded(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Return a part. `read` without a size would decompress all that there is, then cut it."""
    pieces = []
    with archive.open(member) as part:
        while piece := part.read(_PIECE):
            pieces.append(piece)
    return b"".join(pieces)
