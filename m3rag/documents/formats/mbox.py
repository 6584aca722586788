"""Mailboxes (.mbox): each mail is a document of its own, by its number.

The parser splits the file itself, because the standard library's mailbox module reads only files
on the disk.
"""

from __future__ import annotations

import re

from m3rag.documents.formats.content import UNLIMITED, Budget, Content, Part

_FROM = re.compile(rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From [^\n]*\n")
_QUOTED = re.compile(rb"^>(?=>*From )", re.MULTILINE)


def parse(data: bytes, budget: Budget = UNLIMITED) -> Content:
    """Return the mails of a mailbox as parts."""
    starts = list(_FROM.finditer(data))
    ends = [*(start.start() for start in starts[1:]), len(data)]
    mails = (data[start.end() : end] for start, end in zip(starts, ends, strict=True))
    parts = (
        Part(f"{number}.eml", _QUOTED.sub(b"", mail).rstrip(b"\r\n") + b"\n")
        for number, mail in enumerate(mails, start=1)
    )
    return Content("", parts=tuple(parts))
