"""How documents and passages are named: by ids for tools, and by URLs for citations and resources.

The id of a document or passage starts with the name of its knowledge base and "/". The URL is that
of the web page a document was read from, if its metadata has one, else `m3rag://BASE/DOCUMENT`,
which is the URI of a resource. `#char=START,END` (RFC 5147) is the place of a passage in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from m3rag.documents import Passage

TEMPLATE = "m3rag://{base}/{+document}"
"""The URI template of documents."""

_WEB = ("http://", "https://")


def full_id(base: str, id: str) -> str:
    """Return the id of a document or passage in a knowledge base."""
    return f"{base}/{id}"


def uri(base: str, document: str) -> str:
    """Return the URI of a document."""
    return f"m3rag://{quote(base)}/{quote(document, safe='/')}"


def url(base: str, document: str, metadata: Mapping[str, Any]) -> str:
    """Return the URL of a document: that of its metadata, or its URI."""
    for key in ("url", "source"):
        value = metadata.get(key)
        if isinstance(value, str) and value.startswith(_WEB):
            return value
    return uri(base, document)


def passage_url(base: str, passage: Passage) -> str:
    """Return the URL of a passage's document, with its place if it has one there."""
    found = url(base, passage.document_id or passage.id, passage.metadata)
    if not found.startswith("m3rag:") or passage.start is None or passage.end is None:
        return found
    return f"{found}#char={passage.start},{passage.end}"
