"""Text as HTML: escaped, and without characters that HTML does not allow."""

from __future__ import annotations

import re
from html import escape

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


def html_text(text: str) -> str:
    r"""Return a text for the content of an element or a quoted attribute of HTML.

    Markup is shown as text, and each unsafe character as an escape such as `\x1b`.
    """
    return escape(_UNSAFE.sub(_shown, text))


def _shown(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
