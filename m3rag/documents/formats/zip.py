"""Zip archives (.zip): each file in it that m3rag reads is a document of its own.

Files of other formats and hidden files are not unpacked, as in a folder.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from zipfile import ZipInfo

from m3rag.documents.formats.archive import Archive
from m3rag.documents.formats.content import UNLIMITED, Budget, Content, Part
from m3rag.documents.formats.registry import format_for

_UTF8 = 0x800  # the flag of a name in UTF-8


def parse(data: bytes, budget: Budget = UNLIMITED) -> Content:
    """Return the files of an archive as parts."""
    archive = Archive(data, budget.limits)
    images = budget.ocr is not None
    parts = []
    for member in archive.members.values():
        name = _name(member)
        path = PurePosixPath(name.replace("\\", "/"))
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
        if not member.is_dir() and not hidden and format_for(path.suffix.lower(), images=images):
            parts.append(Part(name, archive.read(member.filename)))
    return Content("", parts=tuple(sorted(parts)))


def _name(member: ZipInfo) -> str:
    """Return the name of a member; many programs write UTF-8 without saying so."""
    if member.flag_bits & _UTF8:
        return member.filename
    try:
        return member.filename.encode("cp437").decode()
    except UnicodeError:
        return member.filename
