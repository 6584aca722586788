"""Slices of a set: the documents that are ranked together, and the queries asked of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
""""all" languages of documents each on its own, the whole corpus "pooled", or pairs as "es-en"."""

POOLED = "all"  # the language of the documents of a whole corpus


@dataclass(frozen=True)
class Splitter:
    """How documents become passages; the limits are those of `m3rag.split`."""

    tokenizer: SpanTokenizer
    max_tokens: int = 512
    overlap: int = 64

    def __call__(self, document: CorpusDocument) -> list[Passage]:
        """At least one passage, an empty one if there is no text."""
        whole = Document(document.id, document.text)
        found = split(whole, self.tokenizer, max_tokens=self.max_tokens, overlap=self.overlap)
        return found or [Passage(f"{document.id}#0", document.text, document_id=document.id)]


@dataclass(frozen=True)
class Slice:
    """Documents that are ranked together, and the queries that have a right answer among them.

    Attributes:
        subset: the subset of the set, "" if it has none.
        language: the documents' language, "all" for a whole corpus.
        units: the ids of what is ranked, documents or passages, ascending.
        passages: what is encoded, those of a unit side by side; empty if nothing was split.
        starts: int64 `(n units,)`; where each unit's passages start.
        queries: those with something relevant here.
        relevant: for each query the grades of the relevant units.
        left_out: how many queries have nothing relevant here.
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
    """Slice a set: by subset, and unless it is pooled by the documents' language.

    Args:
        data: the set.
        pairs: which languages of queries meet which languages of documents.
        level: whether documents or passages are ranked.
        splitter: makes the passages; without one only documents can be judged.

    Raises:
        InputError: an unknown language or level, no spans to judge passages by, or no query with
            a relevant document.
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
    slices = [one for one in slices if one.queries]
    if not slices:
        raise InputError(
            f"The set {data.name!r} has no query with a relevant document at level {level!r}, "
            f"pairs {pairs!r}: there is nothing to evaluate."
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
    split_up = {d.id: splitter(d) if splitter else [] for d in documents}
    if level == "document":
        units, sizes = list(split_up), [len(passages) for passages in split_up.values()]
        passages = [passage for some in split_up.values() for passage in some]
    else:
        passages = sorted((p for some in split_up.values() for p in some), key=lambda p: p.id)
        units, sizes = [passage.id for passage in passages], [1] * len(passages)
    kept, relevant = [], []
    for query in queries:
        grades = {d: g for d, g in data.qrels.get(query.id, {}).items() if g > 0 and d in split_up}
        if level == "passage":
            grades = dict(_overlapping(query, grades, split_up))
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
    """The passages of relevant documents that share a character with the query's spans."""
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
        raise InputError(f'level must be "document" or "passage", got {level!r}.')
    if level == "passage" and not any(query.spans for query in data.queries):
        raise InputError(
            f"The set {data.name!r} has no spans, so that no passage is known to be relevant: "
            'use level "document".'
        )
    if level == "passage" and splitter is None:
        raise InputError('Without a model nothing is split: use level "document".')


def _parse_pairs(pairs: Sequence[str], data: RetrievalSet) -> set[tuple[str, str]]:
    """Pairs such as "es-en" or "zh-tw-en", query language first."""
    if isinstance(pairs, str):
        pairs = [pairs]
    known = set(data.languages)
    found = set()
    for pair in pairs:
        parts = pair.split("-")
        ways = (("-".join(parts[:i]), "-".join(parts[i:])) for i in range(1, len(parts)))
        fitting = [way for way in ways if known.issuperset(way)]
        if not fitting:
            raise InputError(
                f"{pair!r} is not a pair of languages of the set {data.name!r}, query first; "
                f"it has {', '.join(data.languages)}."
            )
        found.add(fitting[0])
    return found
