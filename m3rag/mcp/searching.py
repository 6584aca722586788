"""The results of the tools `search` and `ask`."""

from __future__ import annotations

from itertools import zip_longest

from m3rag.index.hit import Hit
from m3rag.index.settings import SearchSettings
from m3rag.mcp import names
from m3rag.mcp.holdings import Holdings
from m3rag.mcp.results import BestSentence, Findings, SearchResult, SearchResults


def search(holdings: Holdings, query: str, k: int) -> SearchResults:
    """Search all knowledge bases of a caller.

    The scores of one model are compared; otherwise the results of the knowledge bases take turns.

    Raises:
        InputError: The query is empty.
    """
    indexes = {name: holdings.index(name) for name in holdings.names}
    found = [[(name, hit) for hit in index.search(query, k)] for name, index in indexes.items()]
    if len({index.model.fingerprint for index in indexes.values()}) == 1:
        ranked = sorted((one for hits in found for one in hits), key=lambda one: -one[1].score)
    else:
        ranked = [one for turn in zip_longest(*found) for one in turn if one is not None]
    return SearchResults(results=[_result(name, hit) for name, hit in ranked[:k]])


def ask(
    holdings: Holdings,
    question: str,
    base: str | None,
    k: int,
    *,
    neighbours: int,
    settings: SearchSettings,
) -> Findings:
    """Return the passages of a knowledge base that answer a question, and the best sentence.

    Raises:
        InputError: There is no such knowledge base, or an argument is out of range.
    """
    from m3rag import service

    name = holdings.one(base)
    index = holdings.index(name)
    found = service.ask(index, question, k, neighbours=neighbours, settings=settings)
    answer = reason = None
    if found.sentence is not None:
        passage = found.hits[0].passage
        answer = BestSentence(
            text=found.sentence.text,
            id=names.full_id(name, passage.id),
            url=names.passage_url(name, passage),
        )
    elif found.refused:
        reason = (
            f"Nothing in the knowledge base answers the question: the best score is "
            f"{found.hits[0].score:.3f}, but {found.min_score:.3f} is required."
        )
    else:
        reason = "The knowledge base is empty, or no passage matches the filter."
    passages = [_result(name, hit) for hit in found.hits]
    return Findings(answer=answer, reason=reason, passages=passages)


def _result(base: str, hit: Hit) -> SearchResult:
    passage = hit.passage
    return SearchResult(
        id=names.full_id(base, passage.id),
        title=passage.place,
        url=names.passage_url(base, passage),
        text=passage.full_text,
        score=hit.score,
    )
