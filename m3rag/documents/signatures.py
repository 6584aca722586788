"""What a file is by its first bytes, whatever its suffix says."""

from __future__ import annotations

import re

_START = 1024  # bytes of a file to look at; the header of a PDF file may have other bytes before it
OLE = b"\xd0\xcf\x11\xe0"
"""The start of an old Office file, and of an encrypted new one."""
_PDF, _ZIP, _OLE, _HTML = "a PDF file", "a zip archive", "an old Office file", "an HTML page"
_RTF = "an RTF file"
_IMAGES = ("a PNG image", "a JPEG image", "a TIFF image", "a RIFF file (WAV, AVI or WebP)")
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", _PDF),
    (b"PK\x03\x04", _ZIP),
    (b"PK\x05\x06", _ZIP),
    (OLE, _OLE),
    (b"{\\rtf", _RTF),
    (b"%!PS", "a PostScript file"),
    (b"\x89PNG\r\n\x1a\n", _IMAGES[0]),
    (b"\xff\xd8\xff", _IMAGES[1]),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"II*\0", _IMAGES[2]),
    (b"MM\0*", _IMAGES[2]),
    (b"\x1f\x8b\x08", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x7fELF", "a program (ELF)"),
    (b"MZ\x90\0", "a Windows program"),
    (b"\xcf\xfa\xed\xfe", "a macOS program"),
    (b"\xca\xfe\xba\xbe", "a Java class or macOS program"),
    (b"\0asm", "a WebAssembly file"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"OggS", "an Ogg file"),
    (b"ID3", "an MP3 file"),
    (b"RIFF", _IMAGES[3]),
    (b"fLaC", "a FLAC file"),
)
_HTML_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html)[\s>]",
                         re.IGNORECASE | re.DOTALL)  # fmt: skip
_TEXT_START = re.compile(rb"[\t-\r\x1b -~]{4}")  # four bytes that text may start with
_POWERPOINT, _EXCEL, _WORD = (
    "a PowerPoint file (.pptx)",
    "an Excel file (.xlsx)",
    "a Word file (.docx)",
)
_OPEN, _BOOK = "an OpenDocument file", "an e-book (EPUB)"
_OFFICE = {  # by the start of the name of a member; the first that is there counts
    b"mimetypeapplication/vnd.oasis.opendocument": _OPEN,
    b"mimetypeapplication/epub": _BOOK,
    b"ppt/": _POWERPOINT,
    b"xl/": _EXCEL,
    b"word/": _WORD,
}
_PACKED = {  # what an archive may be, if it says what it is
    "docx": (_WORD,),
    "pptx": (_POWERPOINT,),
    "spreadsheet": (_EXCEL, _OPEN),
    "opendocument": (_OPEN,),
    "epub": (_BOOK,),
}
_EXPECTED = {
    "pdf": (_PDF,),
    "docx": (_ZIP, _OLE),  # an encrypted one is an old Office file around it; the parser says so
    "pptx": (_ZIP, _OLE),
    "spreadsheet": (_ZIP, _OLE),
    "opendocument": (_ZIP,),
    "epub": (_ZIP,),
    "zip": (_ZIP,),
    "rtf": (_RTF,),
    "msg": (_OLE,),
    "image": _IMAGES,
}


def mismatch(data: bytes, form: str) -> str | None:
    """Return what a file is if its format certainly differs from the one that its suffix names.

    Args:
        data: The content of the file.
        form: The name of the format, such as "markdown".

    Returns:
        What the file is, such as "a PDF file". None if it may have the format: a text that only
        looks like another kind of file, such as "MZ" or "%PDF" in prose, is a text.
    """
    start = data[:_START]
    found = next((kind for magic, kind in _MAGIC if start.startswith(magic)), None)
    expected = _EXPECTED.get(form)
    if expected is None:
        return _packed(data) if found == _ZIP else found if _binary(start, found) else None
    if found == _ZIP and form in _PACKED:
        kind = _packed(data)
        return None if kind in (_ZIP, *_PACKED[form]) else kind
    if found in expected or (form == "pdf" and b"%PDF-" in start):
        return None
    if found is None and _HTML_START.match(start):
        return _HTML
    return _packed(data) if found == _ZIP else found


def _binary(start: bytes, found: str | None) -> bool:
    """Return whether a known start rules out that the file is a text."""
    if found in (_PDF, "a PostScript file", _RTF):
        return True
    return found is not None and (b"\0" in start or not _TEXT_START.match(start))


def _packed(data: bytes) -> str:
    """Return what a zip archive contains, by the names of its first and last members."""
    names = data[:4096] + data[-4096:]
    return next((kind for name, kind in _OFFICE.items() if name in names), _ZIP)
