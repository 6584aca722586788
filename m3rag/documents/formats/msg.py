"""Outlook messages (.msg): as mail.

The parser uses python-oxmsg, because it is the library for this format that is not under the GPL.
"""

from __future__ import annotations

from io import BytesIO

from oxmsg import Message

from m3rag.documents.formats import html
from m3rag.documents.formats.content import UNLIMITED, Budget, Content, Part
from m3rag.documents.formats.mail import letter


def parse(data: bytes, budget: Budget = UNLIMITED) -> Content:
    """Return the text of a message, with its attachments as parts."""
    message = Message.load(BytesIO(data))
    plain = (message.body or "").replace("\r\n", "\n").replace("\0", "")
    body = Content(plain.strip("\n")) if plain.strip() else html.parse(message.html_body or "")
    recipients = (f"{to.name} <{to.email_address}>" for to in message.recipients)
    metadata = {"from": message.sender or "", "to": ", ".join(recipients)}
    if message.sent_date:
        metadata["date"] = message.sent_date.isoformat()
    parts = [
        Part(attachment.file_name or "", attachment.file_bytes)
        for attachment in message.attachments
        if attachment.file_bytes
    ]
    named = {name: text for name, text in metadata.items() if text}
    return letter(message.subject or "", [body], named, parts)
