"""Plain text as all parsers write it: rows of tables, bullets, and whole characters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

SYMBOL_BULLETS = "\uf0b7\uf0a7\uf0a8\uf0d8\uf076\uf0fc"
"""The bullets of symbol fonts, in private characters that have no other meaning."""
# Places for a hyphen or a line break, and marks of direction: nobody sees them, and no query has
# them. Joiners (U+200C, U+200D) stay, because words and emoji differ by them.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff\u202a-\u202e\u2066-\u2069]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def table_text(rows: Iterable[Sequence[str]]) -> str:
    """Return the rows of a table, one a line, with the cells between bars; no empty rows."""
    cells = ([" ".join(cell.split()) for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells if any(row))


def visible(text: str) -> str:
    """Return a text without the characters that nobody sees."""
    return _INVISIBLE.sub("", text)


def valid(text: str) -> str:
    """Return a text with U+FFFD in place of each half of a surrogate pair; positions stay."""
    return _SURROGATES.sub("\ufffd", text)


def paired(text: str) -> str:
    """Return a text with two halves of a surrogate pair as one character, and U+FFFD for one."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
