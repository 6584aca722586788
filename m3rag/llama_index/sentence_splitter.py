"""Sentences of any script, for LlamaIndex's splitters that take a function."""

from __future__ import annotations

from itertools import pairwise

from m3rag import documents


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text in any script; together they are the text.

    For `SentenceWindowNodeParser.from_defaults(sentence_splitter=split_sentences)` and
    `SemanticSplitterNodeParser(sentence_splitter=split_sentences, …)`, whose own sentences need
    English punctuation.

    Example:
        >>> split_sentences("植物需要水。土壤很湿。")
        ['植物需要水。', '土壤很湿。']
    """
    starts = [start for start, _ in documents.sentences(text)]
    return [text[a:b] for a, b in pairwise([0, *starts[1:], len(text)])] if starts else [text]
