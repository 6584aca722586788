"""Slices of a set: documents that are ranked together, and the queries to rank them for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from m3rag.documents import Document, Passage, split
from m3rag.documents.splitting import SpanTokenizer
from m3rag.errors import InputError
from m3rag.evaluation.dataset import CorpusDocument, Query, RetrievalSet

Level = Literal["document", "passage"]
LEVELS: tuple[Level, ...] = get_args(Level)
Context = Literal["passage", "document"]
Pairs = str | Sequence[str]
"""Language pairs: "all" (each document language is a corpus), "pooled" (one corpus), or "es-en"."""

POOLED = "all"  # stands for the document language where the whole corpus is ranked


@dataclass(frozen=True)
class Splitter:
    """Splits documents into passages.

    Attributes:
        tokenizer: Counts tokens.
        max_tokens: The longest passage, as in `m3rag.split`.
        overlap: As in `m3rag.split`.
    """

    tokenizer: SpanTokenizer
    max_tokens: int
    overlap: int | None = None

    def __call__(self, document: CorpusDocument) -> list[Passage]:
        """Return the passages of a document; a document without text is one empty passage."""
        passages = split(
            Document(document.id, document.text),
            self.tokenizer,
            max_tokens=self.max_tokens,
            overlap=self.overlap,
        )
        return passages or [Passage(f"{document.id}#0", document.text, document_id=document.id)]


@dataclass(frozen=True)
class Slice:
    """Documents that are ranked together, and the queries with a relevant document among them.

    Attributes:
        subset: The subset of the set; "" if it has none.
        language: The language of the documents; "all" for the whole corpus.
        units: The ids of the documents or passages to rank, in ascending order.
        passages: The passages to encode, those of a unit side by side; empty if documents were not
            split.
        starts: The position of each unit's first passage, int64 `(n units,)`.
        queries: The queries with a relevant unit in this slice.
        relevant: The grades of the relevant units, for each query.
        left_out: The number of queries without a relevant unit in this slice.
    """

    subset: str
    language: str
    units: Sequence[str]
    passages: Sequence[Passage]
    starts: NDArray[np.int64]
    queries: Sequence[Query]
    relevant: Sequence[Mapping[str, int]]
    left_out: int


def cut(
    data: RetrievalSet, *, pairs: Pairs, level: Level, splitter: Splitter | None
) -> list[Slice]:
    """Cut a set into slices, by subset and, unless it is pooled, by document language.

    Args:
        data: The set.
        pairs: The languages of queries to compare with each language of documents.
        level: Whether documents or passages are ranked.
        splitter: Splits the documents; without one, only documents can be ranked.

    Raises:
        InputError: A language or the level is unknown, there are no spans to judge passages by, or
            no query has a relevant document.
    """
    _check_level(data, level, splitter)
    wanted = None if pairs in ("all", "pooled") else _parse_pairs(pairs, data)
    groups: dict[tuple[str, str], list[CorpusDocument]] = {}
    for document in data.corpus:
        language = POOLED if pairs == "pooled" else document.language
        groups.setdefault((document.subset, language), []).append(document)
    slices = []
    for (subset, language), documents in sorted(groups.items()):
        queries = [
            query
            for query in data.queries
            if query.subset == subset and (wanted is None or (query.language, language) in wanted)
        ]
        if queries:
            ordered = sorted(documents, key=lambda document: document.id)
            slices.append(_slice(data, subset, language, ordered, queries, level, splitter))
    slices = [part for part in slices if part.queries]
    if not slices:
        raise InputError(
            f"There is nothing to evaluate: at level {level!r} and with the pairs {pairs!r}, no "
            f"query of the set {data.name!r} has a relevant {level}."
        )
    return slices


def _slice(
    data: RetrievalSet,
    subset: str,
    language: str,
    documents: Sequence[CorpusDocument],
    queries: Sequence[Query],
    level: Level,
    splitter: Splitter | None,
) -> Slice:
    split_documents = {d.id: splitter(d) if splitter else [] for d in documents}
    passages = list(chain.from_iterable(split_documents.values()))
    if level == "document":
        units, sizes = list(split_documents), [len(parts) for parts in split_documents.values()]
    else:
        passages.sort(key=lambda passage: passage.id)
        units, sizes = [passage.id for passage in passages], [1] * len(passages)
    kept, relevant = [], []
    for query in queries:
        qrels = data.qrels.get(query.id, {})
        grades = {d: g for d, g in qrels.items() if g > 0 and d in split_documents}
        if level == "passage":
            grades = dict(_overlapping(query, grades, split_documents))
        if grades:
            kept.append(query)
            relevant.append(grades)
    return Slice(
        subset=subset,
        language=language,
        units=units,
        passages=passages,
        starts=np.cumsum([0, *sizes[:-1]]),
        queries=kept,
        relevant=relevant,
        left_out=len(queries) - len(kept),
    )


def _overlapping(
    query: Query, grades: Mapping[str, int], passages: Mapping[str, Sequence[Passage]]
) -> Iterator[tuple[str, int]]:
    """Yield the passages of relevant documents that share a character with the query's spans."""
    for document, grade in grades.items():
        if document not in query.spans:
            continue
        first, last = query.spans[document]
        for passage in passages[document]:
            start = passage.start or 0
            end = start + len(passage.text) if passage.end is None else passage.end
            if start < last and first < end:
                yield passage.id, grade


def _check_level(data: RetrievalSet, level: Level, splitter: Splitter | None) -> None:
    if level not in LEVELS:
        raise InputError(f'`level` must be "document" or "passage", got {level!r}.')
    if level == "passage" and not any(query.spans for query in data.queries):
        raise InputError(
            f'The set {data.name!r} has no spans, which level "passage" needs to find the relevant '
            'passages. Use level "document".'
        )
    if level == "passage" and splitter is None:
        raise InputError(
            'Level "passage" needs a model to split the documents. Use level "document".'
        )


def _parse_pairs(pairs: Sequence[str], data: RetrievalSet) -> set[tuple[str, str]]:
    """Parse pairs such as "es-en" or "zh-tw-en", query language first."""
    if isinstance(pairs, str):
        pairs = [pairs]
    known = set(data.languages)
    found = set()
    for pair in pairs:
        parts = pair.split("-")
        splits = (("-".join(parts[:i]), "-".join(parts[i:])) for i in range(1, len(parts)))
        valid = [languages for languages in splits if known.issuperset(languages)]
        if not valid:
            raise InputError(
                f"{pair!r} is not a pair of languages of the set {data.name!r}, query language "
                f"first. The languages are {', '.join(data.languages)}."
            )
        found.add(valid[0])
    return found
