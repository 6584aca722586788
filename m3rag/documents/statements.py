"""The sentences that can answer a question: no headings, links alone, front matter or rules."""

from __future__ import annotations

import re
from collections.abc import Collection

from m3rag.documents.lines import Kind, lines
from m3rag.documents.sentences import sentences

_LINK = re.compile(
    r"(?:[-*+>]\s+|\d{1,9}[.)]\s+)*(?:!?\[[^\]]*\](?:\([^()\s]*(?:\s[^()]*)?\)|\[[^\]]*\])"
    r"|!?\[\[[^\]]*\]\]|<?(?:https?://|www\.)[^\s<>]+>?)[.,;:!?]?"
)
# Before the text: "---", "title: …", "---". In MDX, components and the lines that import them.
_FRONT_MATTER = re.compile(r"(---|\+\+\+)[ \t]*\n(?:.*\n)*?(?:\1|\.\.\.)[ \t]*(?:\n|\Z)")
_CODE = re.compile(r"</?[A-Za-z][^<>]*>|(?:import|export)\s[^.!?]*[;'\"})]")
_TABLE_RULE = re.compile(r"[\s|:+=-]+")
_WORDS = re.compile(r"\w+")


def statements(text: str, titles: Collection[str] = ()) -> list[tuple[int, int]]:
    """Return the sentences of a text that say something of their own.

    A heading answers the question that it asks, and a link repeats the words of a title, so both
    are closest to a question and worthless as an answer.

    Args:
        text: Any text.
        titles: Titles that are lines of the text, such as `Passage.headings`.

    Returns:
        The spans of these sentences, as from `sentences`; of all sentences if none is left.
    """
    found = sentences(text)
    known = {tuple(_WORDS.findall(title.casefold())) for title in titles}
    headings = _headings(text)
    front = _FRONT_MATTER.match(text)
    first = front.end() if front else 0
    kept = [
        (start, end)
        for start, end in found
        if start not in headings
        and start >= first
        and not _LINK.fullmatch(text, start, end)
        and not _CODE.fullmatch(text, start, end)
        and not _TABLE_RULE.fullmatch(text, start, end)
        and tuple(_WORDS.findall(text[start:end].casefold())) not in known
    ]
    return kept or found


def _headings(text: str) -> set[int]:
    """Return the first characters of headings, of the lines under them, of rules and of fences."""
    found: set[int] = set()
    before = None
    for line in lines(text):
        fence = line.kind is Kind.CODE and text.startswith(("```", "~~~"), line.start)
        if fence or line.kind in (Kind.HEADING, Kind.UNDERLINE):
            found.add(line.start)
        if line.kind is Kind.UNDERLINE and before is not None and before.kind is Kind.TEXT:
            found.add(before.start)
        before = line
    return found
