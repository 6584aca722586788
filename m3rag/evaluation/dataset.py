"""Retrieval sets: documents, queries, and which documents are relevant to which query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from m3rag.errors import InputError
from m3rag.limits import shown

UNDETERMINED = "und"  # BCP 47's code for a language that is not known
Qrels = Mapping[str, Mapping[str, int]]
"""Query id -> document id -> grade; a document with a grade above 0 is relevant."""


@dataclass(frozen=True, slots=True)
class CorpusDocument:
    """A document of a retrieval set.

    Attributes:
        id: Unique in the corpus.
        text: The title, if there is one, an empty line, and the text.
        language: A language code; "und" if the set has none.
        subset: The subset it belongs to; each subset is evaluated as a separate set. "" if the set
            has no subsets.
    """

    id: str
    text: str
    language: str = UNDETERMINED
    subset: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a retrieval set.

    Attributes:
        id: Unique among the queries.
        text: The text to search for.
        language: A language code; "und" if the set has none.
        subset: As in `CorpusDocument`.
        spans: Document id -> the characters `[start, end)` of its text that contain the answer.
    """

    id: str
    text: str
    language: str = UNDETERMINED
    subset: str = ""
    spans: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The id without a final `-<language>`, the same for one question in all languages."""
        return self.id.removesuffix(f"-{self.language}")


@dataclass(frozen=True)
class RetrievalSet:
    """Documents, queries and qrels that belong together.

    Attributes:
        name: The name of the set.
        corpus: The documents.
        queries: The queries.
        qrels: Query id -> document id -> grade; a document with a grade above 0 is relevant.

    Example:
        >>> data = RetrievalSet(
        ...     "greetings",
        ...     corpus=[CorpusDocument("d1", "hello", "en"), CorpusDocument("d2", "bye", "en")],
        ...     queries=[Query("q1", "hola", "es")],
        ...     qrels={"q1": {"d1": 1}},
        ... )
        >>> data.languages
        ('en', 'es')

    Raises:
        InputError: The set is empty, an id occurs more than once, or the qrels or spans name
            unknown ids.
    """

    name: str
    corpus: Sequence[CorpusDocument]
    queries: Sequence[Query]
    qrels: Qrels

    read: ClassVar[Callable[[str | Path], RetrievalSet]]
    """`read_set` under its name in 0.1; `m3rag.evaluation.sources` sets it."""

    def __post_init__(self) -> None:
        if not self.corpus:
            raise InputError(f"The set {shown(self.name)} has no documents.")
        if not self.queries:
            raise InputError(f"The set {shown(self.name)} has no queries.")
        _check_unique(self.name, "document", (document.id for document in self.corpus))
        _check_unique(self.name, "query", (query.id for query in self.queries))
        queries = {query.id for query in self.queries}
        documents = {document.id for document in self.corpus}
        _check_known(self.name, "qrels", "queries", self.qrels, queries)
        judged = (document for grades in self.qrels.values() for document in grades)
        _check_known(self.name, "qrels", "documents", judged, documents)
        spans = (document for query in self.queries for document in query.spans)
        _check_known(self.name, "spans", "documents", spans, documents)
        if not any(grade > 0 for grades in self.qrels.values() for grade in grades.values()):
            raise InputError(
                f"The qrels of the set {shown(self.name)} contain no relevant document: at least "
                "one grade must be above 0."
            )

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of documents and queries, sorted."""
        languages = {document.language for document in self.corpus}
        return tuple(sorted(languages.union(query.language for query in self.queries)))

    def sample(self, every: int) -> RetrievalSet:
        """Return the set with every `every`-th question in all its languages, and all documents.

        Args:
            every: The N in "use only every N-th question"; 1 keeps all.

        Raises:
            InputError: `every` is below 1.
        """
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise InputError(
                f"`every` must be at least 1, got {shown(every)}. Use 1 to keep all questions."
            )
        if every == 1:
            return self
        judged = [query for query in self.queries if query.id in self.qrels]
        chosen = set(list(dict.fromkeys(query.question for query in judged))[::every])
        queries = [query for query in judged if query.question in chosen]
        qrels = {query.id: self.qrels[query.id] for query in queries}
        return RetrievalSet(self.name, self.corpus, queries, qrels)


def _check_unique(name: str, what: str, ids: Iterable[str]) -> None:
    duplicates = [key for key, n in Counter(ids).items() if n > 1]
    if duplicates:
        raise InputError(
            f"The set {shown(name)} has duplicate {what} ids ({len(duplicates):,}); the first is "
            f"{shown(duplicates[0])}."
        )


def _check_known(
    name: str, where: str, what: str, ids: Iterable[str], known: Iterable[str]
) -> None:
    unknown = sorted(set(ids).difference(known), key=str)
    if unknown:
        raise InputError(
            f"The {where} of the set {shown(name)} name {len(unknown):,} unknown {what}; the first "
            f"is {shown(unknown[0])}. Check that the files belong together."
        )
