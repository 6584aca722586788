"""Check what a language model wrote from the documents of a retriever or of a tool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.documents import Document

from m3rag.answers import Answer, check_answer
from m3rag.frameworks import refusing
from m3rag.index.hit import Hit
from m3rag.langchain.documents import to_passage
from m3rag.langchain.scores import scores_of


@refusing
def checked_answer(text: str, documents: Sequence[Document], *, question: str = "") -> Answer:
    """Return an answer with its citations and quotations checked.

    Example:
        >>> found = [Document("Ferns like shade.", id="a")]
        >>> answer = checked_answer("In the shade [1][7].", found)
        >>> answer.text, answer.removed, answer.citations[1].passage.id
        ('In the shade [1].', (7,), 'a')

    Args:
        text: What was written, with citations such as [1].
        documents: The documents that its author read, numbered from 1, such as `found_documents`
            of the message of a retrieval tool.
        question: The question that it answers.

    Returns:
        The text without the numbers that are no document, the cited passages with their ids and
        spans, and whether all quotations are in them.

    Raises:
        AnswerError: The text is too long, or has too many quotations for documents as long.
    """
    return check_answer(text, [_hit(document) for document in documents], question=question)


def _hit(document: Document) -> Hit:
    channels: dict[str, Any] = {**scores_of(document)}
    return Hit(score_of(document), to_passage(document), **channels)


def score_of(document: Document) -> float:
    """Return the fused score of a result; 0 if its metadata have none."""
    score: float = document.metadata.get("relevance_score", 0.0)
    return score
