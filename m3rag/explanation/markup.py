"""Text as HTML: escaped, without characters that HTML does not allow; the code in a text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from m3rag.documents.lines import Kind, lines

POLICY = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
)
"""Forbids scripts, images and requests in a page, which needs none of them."""

# Controls except tab, line feed and carriage return, DEL and C1; bidi embeddings, overrides and
# isolates, which would reorder what follows in an attribute or a title; surrogates; and what is
# not a character.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef"
    "\ufffe\uffff]"
)
# Each run of backticks is looked at once: quantifiers are possessive (`++`).
_CODE = re.compile(r"(?<!`)(`++)[^`\n]++\1(?!`)|https?://[^\s<>]++")


def code_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of the lines of code blocks, of code in backticks and of web addresses."""
    for line in lines(text):
        if line.kind is not Kind.CODE:
            yield from (match.span() for match in _CODE.finditer(text, line.start, line.end))
        elif line.start < line.end:
            yield line.start, line.end


def html_text(text: str) -> str:
    r"""Return a text for the content of an element or a quoted attribute of HTML.

    Markup is shown as text, and each unsafe character as an escape such as `\x1b`.
    """
    return escape(_UNSAFE.sub(_shown, text))


def _shown(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
