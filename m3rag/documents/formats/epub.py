"""E-books (.epub): the chapters in reading order.

The parser reads the archive itself and each chapter as HTML: the library for this format, EbookLib,
is under the AGPL.
"""

from __future__ import annotations

import posixpath
from typing import Any
from urllib.parse import unquote

from m3rag.documents.decoding import check_length, decode
from m3rag.documents.document import Heading
from m3rag.documents.encodings import declared_encoding
from m3rag.documents.formats import html
from m3rag.documents.formats.archive import Archive
from m3rag.documents.formats.content import UNLIMITED, Budget, Content, Writer
from m3rag.documents.markup import attribute, descendants, line_of, local, parse_xml
from m3rag.errors import DocumentError

_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_SECONDS_PER_BYTE = 20e-6  # of a compressed chapter; each earns time once


def parse(data: bytes, budget: Budget = UNLIMITED) -> Content:
    """Return the text of a book; a chapter without a heading gets its title in the contents."""
    archive = Archive(data, budget.limits)
    container = archive.read("META-INF/container.xml")
    roots = descendants(parse_xml(container), "rootfile") if container else []
    path = roots[0].get("full-path", "") if roots else ""
    if not (source := archive.read(path)):
        raise DocumentError("it has no list of its chapters, so it is damaged. Get the book again.")
    package = parse_xml(source)
    protected = _encrypted(archive)
    files = {item.get("id"): _path(path, item) for item in descendants(package, "item")}
    contents = _contents(archive, package, path)
    writer = Writer()
    seen: set[str] = set()
    for entry in descendants(package, "itemref"):
        chapter = files.get(entry.get("idref"), "")
        if chapter in seen or chapter not in archive.members:
            continue
        if chapter in protected:
            raise DocumentError("it is protected by DRM. Use a copy without it.")
        seen.add(chapter)
        budget.more_time(_SECONDS_PER_BYTE * archive.members[chapter].compress_size)
        page = archive.read(chapter)
        content = html.parse(decode(page, declared_encoding(page), budget.limits))
        title = contents.get(chapter)
        if title and content.text and not content.headings:
            first = " ".join(content.text.split("\n", 1)[0].split())
            if first.casefold() == title.casefold():
                content = content._replace(headings=(Heading(1, first, 0),))
            else:
                writer.heading(1, title)
        writer.include(content)
        check_length(writer.length, budget.limits)
    metadata = {"author": _text(package, "creator"), "language": _text(package, "language")}
    found = {name: text for name, text in metadata.items() if text}
    return writer.content(title=_text(package, "title"))._replace(metadata=found)


def _path(base: str, item: Any, key: str = "href") -> str:
    """Return the path in the archive of what an element of a file refers to."""
    href = unquote((attribute(item, key) or "").partition("#")[0])
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), href))


def _encrypted(archive: Archive) -> set[str]:
    """Return the encrypted files; fonts that are only made unreadable do not count."""
    source = archive.read("META-INF/encryption.xml")
    found = set()
    for entry in descendants(parse_xml(source), "EncryptedData") if source else ():
        methods = {m.get("Algorithm") for m in descendants(entry, "EncryptionMethod")}
        if methods.isdisjoint(_FONTS):
            found |= {unquote(r.get("URI", "")) for r in descendants(entry, "CipherReference")}
    return found


def _contents(archive: Archive, package: Any, base: str) -> dict[str, str]:
    """Return the title of each chapter in the table of contents, by the path of its file."""
    found: dict[str, str] = {}
    for item in descendants(package, "item"):
        path = _path(base, item)
        if "nav" in item.get("properties", "").split():
            entries, key = "a", "href"
        elif item.get("media-type") == "application/x-dtbncx+xml":
            entries, key = "navPoint", "src"
        else:
            continue
        source = archive.read(path)
        for entry in descendants(parse_xml(source), entries) if source else ():
            labels = [part for part in entry if local(part) == "navLabel"] or [entry]
            links = [part for part in entry if local(part) == "content"] or [entry]
            title = line_of(labels[0])
            found.setdefault(_path(path, links[0], key), title)
    return found


def _text(package: Any, name: str) -> str:
    """Return an entry of the book's metadata."""
    texts = (" ".join((entry.text or "").split()) for entry in descendants(package, name))
    return next(filter(None, texts), "")
