"""Check what a language model wrote from the nodes of a retriever or of a tool."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.schema import MetadataMode, NodeWithScore

from m3rag.answers import Answer, check_answer
from m3rag.frameworks import refusing
from m3rag.index.hit import Hit
from m3rag.llama_index.nodes import passage_of


@refusing
def checked_answer(text: str, nodes: Sequence[NodeWithScore], *, question: str = "") -> Answer:
    """Return an answer with its citations and quotations checked.

    Example:
        >>> nodes = [TextNode(text="Ferns like shade.", id_="a")]
        >>> found = M3EnsembleRetriever.from_nodes(nodes, model="tiny").retrieve("ferns")
        >>> answer = checked_answer("In the shade [1][7].", found)
        >>> answer.text, answer.removed, answer.citations[1].passage.id
        ('In the shade [1].', (7,), 'a')

    Args:
        text: What was written, with citations such as [1].
        nodes: The nodes that its author read, numbered from 1: the `raw_output` of a retrieval
            tool, or the `source_nodes` of a response.
        question: The question that it answers.

    Returns:
        The text without the numbers that are no node, the cited passages with their ids and spans,
        and whether all quotations are in them.

    Raises:
        AnswerError: The text is too long, or has too many quotations for nodes as long.
    """
    hits = [
        Hit(found.score or 0.0, passage_of(found.node, text=found.get_content(MetadataMode.NONE)))
        for found in nodes
    ]
    return check_answer(text, hits, question=question)
