"""A retrieval set: documents, queries, and which documents answer which query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from m3rag.errors import InputError

UNDETERMINED = "und"  # BCP 47's code for a language that is not told
Qrels = Mapping[str, Mapping[str, int]]
"""Query id -> document id -> grade; above 0 is relevant."""


@dataclass(frozen=True, slots=True)
class CorpusDocument:
    """A document of a set.

    Attributes:
        id: unique in the corpus.
        text: the title, if there is one, an empty line, and the text.
        language: "und" if the set does not tell.
        subset: documents and queries of one subset form a set of their own; "" if there are none.
    """

    id: str
    text: str
    language: str = UNDETERMINED
    subset: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a set.

    Attributes:
        id: unique among the queries.
        text: what is asked.
        language: "und" if the set does not tell.
        subset: as in `CorpusDocument`.
        spans: document id -> the characters `[start, end)` of its text that hold the answer.
    """

    id: str
    text: str
    language: str = UNDETERMINED
    subset: str = ""
    spans: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The id without a final `-<language>`: one question asked in several languages."""
        return self.id.removesuffix(f"-{self.language}")


@dataclass(frozen=True)
class RetrievalSet:
    """Documents, queries and qrels that fit together.

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
        InputError: nothing in it, an id twice, or qrels or spans that name unknown ids.
    """

    name: str
    corpus: Sequence[CorpusDocument]
    queries: Sequence[Query]
    qrels: Qrels

    def __post_init__(self) -> None:
        for what, rows in (("documents", self.corpus), ("queries", self.queries)):
            if not rows:
                raise InputError(f"The set {self.name!r} has no {what}.")
            _check_unique(self.name, what, (row.id for row in rows))
        queries = {query.id for query in self.queries}
        documents = {document.id for document in self.corpus}
        _check_known(self.name, "qrels", "queries", self.qrels, queries)
        judged = (document for grades in self.qrels.values() for document in grades)
        _check_known(self.name, "qrels", "documents", judged, documents)
        spans = (document for query in self.queries for document in query.spans)
        _check_known(self.name, "spans", "documents", spans, documents)
        if not any(grade > 0 for grades in self.qrels.values() for grade in grades.values()):
            raise InputError(f"The qrels of the set {self.name!r} have no relevant document.")

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of documents and queries, sorted."""
        answered = {document.language for document in self.corpus}
        return tuple(sorted(answered.union(query.language for query in self.queries)))

    @staticmethod
    def read(source: str | Path) -> RetrievalSet:
        """Call `m3rag.evaluation.read_set`, under the name it had in 0.1."""
        sources = import_module("m3rag.evaluation.sources")  # by name: sets know no file format
        found: RetrievalSet = sources.read_set(source)
        return found

    def sample(self, every: int) -> RetrievalSet:
        """Every `every`-th question, in all its languages, against the whole corpus.

        Raises:
            InputError: `every` is below 1.
        """
        if every < 1:
            raise InputError(f"every={every} must be 1 or more: 1 takes all questions.")
        if every == 1:
            return self
        judged = [query for query in self.queries if query.id in self.qrels]
        chosen = set(list(dict.fromkeys(query.question for query in judged))[::every])
        queries = [query for query in judged if query.question in chosen]
        qrels = {query.id: self.qrels[query.id] for query in queries}
        return RetrievalSet(self.name, self.corpus, queries, qrels)


def _check_unique(name: str, what: str, ids: Iterable[str]) -> None:
    twice = [name for name, n in Counter(ids).items() if n > 1]
    if twice:
        raise InputError(
            f"The set {name!r}: {len(twice):,} ids of {what} occur more than once, "
            f"the first is {twice[0]!r}."
        )


def _check_known(
    name: str, where: str, what: str, ids: Iterable[str], known: Iterable[str]
) -> None:
    unknown = sorted(set(ids).difference(known))
    if unknown:
        raise InputError(
            f"The set {name!r}: its {where} name {len(unknown):,} {what} that it does not have, "
            f"the first is {unknown[0]!r}. Do the files belong together?"
        )
