"""Writers of files with files in them: mail, mailboxes, messages of Outlook, books, archives."""

import io
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from email.message import EmailMessage
from html import escape

from tests.documents.corpus.texts import Source
from tests.documents.formats.compound_file import compound_file


def packed_files(source: Source, files: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each file; they hold some of the others."""
    letter = mail(source, files).as_bytes()
    yield "letter.eml", letter
    yield "web-letter.eml", web_mail(source).as_bytes()
    yield (
        "letters.mbox",
        b"".join(
            b"From a@example.org Sun Mar  1 08:00:00 2026\n" + m.as_bytes() + b"\n\n"
            for m in (mail(source, files), web_mail(source))
        ),
    )
    yield "letter.msg", outlook(source)
    yield "book.epub", book(source)
    yield "files.zip", zipped({
        f"{source.language}/{source.title}.md": files["text.md"], "rows.csv": files["rows.csv"],
        "letter.eml": letter, "photo.jpg": b"\xff\xd8", ".hidden/text.md": files["text.md"],
    })  # fmt: skip


def mail(source: Source, files: Mapping[str, bytes]) -> EmailMessage:
    """Return a mail with two attachments."""
    message = EmailMessage()
    message["Subject"] = source.title
    message["From"] = f"{source.items[0]} <ana@example.org>"
    message["To"] = "bo@example.org"
    message["Date"] = "Sun, 01 Mar 2026 08:00:00 +0100"
    message.set_content(f"{source.intro}\n\n{source.closing}\n")
    message.add_attachment(source.note, filename=f"{source.page_title}.txt")
    message.add_attachment(files["rows.csv"], "text", "csv", filename="rows.csv")
    return message


def web_mail(source: Source) -> EmailMessage:
    """Return a mail that is a page in an encoding of the time before UTF-8."""
    message = EmailMessage()
    message["Subject"] = source.page_title
    items = "".join(f"<li>{item}</li>" for item in source.items)
    message.set_content(
        f"<h1>{source.list_title}</h1><ul>{items}</ul><p>{source.closing}</p>",
        subtype="html",
        charset="utf-8" if source.encoding == "utf-16" else source.encoding,
    )
    return message


def outlook(source: Source) -> bytes:
    """Return a message of Outlook with an attachment."""
    sent = 134_168_256_000_000_000  # 2026-03-01T08:00:00Z, in 100 ns since 1601
    body = f"{source.intro}\r\n\r\n{source.closing}\r\n"
    texts = {0x37: source.title, 0x1000: body, 0xC1A: source.items[0], 0xC1F: "ana@example.org"}
    message = _storage(struct.pack("<8xIIII8x", 1, 1, 1, 1), texts, [(0x39, 0x40, sent)])
    recipient = {0x3001: "Bo", 0x39FE: "bo@example.org", 0x3003: "bo@example.org"}
    message["__recip_version1.0_#00000000"] = _storage(bytes(8), recipient)
    plan = {0x3707: f"{source.page_title}.txt", 0x3701: source.note.encode()}
    message["__attach_version1.0_#00000000"] = _storage(bytes(8), plan, [(0x3705, 3, 1)])
    return bytes(compound_file(message))


def _storage(
    header: bytes, texts: Mapping[int, str | bytes], numbers: Sequence[tuple[int, int, int]] = ()
) -> dict[str, object]:
    """Return a storage with properties: texts or bytes by their number, and values of 8 bytes."""
    records = [struct.pack("<HHIQ", kind, key, 6, value) for key, kind, value in numbers]
    streams: dict[str, object] = {}
    for key, value in texts.items():
        kind, data = (
            (0x102, value) if isinstance(value, bytes) else (0x1F, value.encode("utf-16-le"))
        )
        streams[f"__substg1.0_{key:04X}{kind:04X}"] = data
        records.append(struct.pack("<HHIII", kind, key, 6, len(data), 0))
    return {"__properties_version1.0": header + b"".join(records), **streams}


def book(source: Source) -> bytes:
    """Return a book of two chapters, whose files are not in the order of the book."""
    items = "".join(f"<li>{escape(item)}</li>" for item in source.items)
    chapters = {
        "z.xhtml": f"<h1>{source.title}</h1><p>{source.intro}</p><h2>{source.list_title}</h2>"
        f"<ul>{items}</ul>",
        "a.xhtml": f"<p>{source.closing}</p>",  # its title is in the contents only
    }
    titles = (source.title, source.page_title)
    links = "".join(
        f'<li><a href="{name}">{title}</a></li>'
        for name, title in zip(chapters, titles, strict=True)
    )
    manifest = "".join(
        f'<item id="{name[0]}" href="{name}" media-type="application/xhtml+xml"/>'
        for name in sorted(chapters)
    )
    page = '<html xmlns="http://www.w3.org/1999/xhtml"><head/><body>{}</body></html>'
    contents = (
        f'<nav xmlns:epub="http://www.idpf.org/2007/ops" epub:type="toc"><ol>{links}</ol></nav>'
    )
    return zipped({
        "mimetype": b"application/epub+zip",
        "META-INF/container.xml": b'<container xmlns="urn:oasis:names:tc:opendocument:xmlns:'
        b'container"><rootfiles><rootfile full-path="book.opf"/></rootfiles></container>',
        "book.opf": (
            '<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata '
            f'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{source.title}</dc:title>'
            f'<dc:language>{source.language}</dc:language></metadata><manifest>{manifest}'
            '<item id="nav" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>'
            '</manifest><spine><itemref idref="z"/><itemref idref="a"/></spine></package>'
        ).encode(),
        "nav.xhtml": page.format(contents).encode(),
        **{name: page.format(body).encode() for name, body in chapters.items()},
    })  # fmt: skip


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return an archive."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()
