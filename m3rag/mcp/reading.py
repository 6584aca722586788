"""The results of the tools `fetch`, `read_passage` and `list_documents`."""

from __future__ import annotations

from collections.abc import Sequence

from m3rag.documents import Passage
from m3rag.index.contents import documents, joined
from m3rag.mcp import names
from m3rag.mcp.holdings import Holdings
from m3rag.mcp.results import DATA, DocumentList, FetchedDocument, ListedDocument, PassageText

FETCHED = 20_000
"""The most characters that `fetch` returns. No script needs more than about one token for each, and
hosts cut results of more than about 25,000 tokens."""


def fetch(holdings: Holdings, id: str) -> FetchedDocument:
    """Return the document with an id, or that of a passage.

    Raises:
        InputError: There is no such document or passage.
    """
    base, whole, at = holdings.find(id)
    first, last = _fitting(whole.passages, at or 0)
    complete = last - first == len(whole.passages)
    previous, following = _around(base, whole.passages, first, last)
    return FetchedDocument(
        id=id,
        title=whole.title if complete else whole.passages[first].place,
        text=joined(whole.passages[first:last]),
        url=names.url(base, whole.id, whole.metadata),
        metadata={
            "knowledge_base": base,
            "document_id": names.full_id(base, whole.id),
            "complete": complete,
            "previous": previous,
            "next": following,
            "document": dict(whole.metadata),
            "note": DATA,
        },
    )


def read_passage(holdings: Holdings, id: str, neighbours: int) -> PassageText:
    """Return a passage with its neighbours in the document; the first one of a document.

    Raises:
        InputError: There is no such passage.
    """
    base, whole, position = holdings.find(id)
    at = position or 0
    first, last = max(0, at - neighbours), min(len(whole.passages), at + neighbours + 1)
    part = whole.passages[first:last]
    previous, following = _around(base, whole.passages, first, last)
    return PassageText(
        id=id,
        title=whole.passages[at].place,
        url=names.passage_url(base, whole.passages[at]),
        text=joined(part),
        start=part[0].start,
        end=part[-1].end,
        previous=previous,
        next=following,
    )


def list_documents(
    holdings: Holdings, base: str | None, after: str | None, limit: int
) -> DocumentList:
    """Return a page of documents, those of one knowledge base or of all, one after the other.

    Raises:
        InputError: There is no such knowledge base.
    """
    start, _, since = (after or "").partition("/")
    listed: list[ListedDocument] = []
    for name in sorted(holdings.names) if base is None else [base]:
        if name < start:
            continue
        if len(listed) == limit:
            return DocumentList(documents=listed, next=f"{name}/")
        begin = since if name == start and since else None
        page = documents(holdings.index(name), after=begin, limit=limit - len(listed))
        listed += [
            ListedDocument(
                id=names.full_id(name, one.id),
                title=one.title,
                url=names.url(name, one.id, one.metadata),
                passages=one.passages,
            )
            for one in page.documents
        ]
        if page.next is not None:
            return DocumentList(documents=listed, next=f"{name}/{page.next}")
    return DocumentList(documents=listed, next=None)


def _fitting(passages: Sequence[Passage], at: int) -> tuple[int, int]:
    """Return the first passage that fits, and the one after the last; all of them, if they fit.

    Otherwise the text starts one passage before the one at `at`, so that reading on repeats little;
    at the end of a document, it starts earlier.
    """
    first = last = max(0, at - 1)
    size = 0
    while last < len(passages) and (size + len(passages[last].text) <= FETCHED or last <= at):
        size += len(passages[last].text)
        last += 1
    while first > 0 and size + len(passages[first - 1].text) <= FETCHED:
        first -= 1
        size += len(passages[first].text)
    return first, last


def _around(
    base: str, passages: Sequence[Passage], first: int, last: int
) -> tuple[str | None, str | None]:
    """Return the ids of the passages before and after a part of a document."""
    before = names.full_id(base, passages[first - 1].id) if first > 0 else None
    after = names.full_id(base, passages[last].id) if last < len(passages) else None
    return before, after
