"""A line of training data, and the texts that are drawn from it.

There are three kinds of lines, which can be mixed freely:

    {"query": text, "pos": [text, …], "neg": [text, …]}   FlagEmbedding's format. Optional: "neg",
                                                          "pos_scores" and "neg_scores" (a
                                                          teacher's), "prompt" (put before query)
    {"t": {"en": text, "es": text, …}}                    translations of each other; also "texts"
    {"q": {"en": text, …}, "p": {"es": text, …}}          queries and passages in several languages

Each kind may have "key" (examples with the same key are not each other's negatives) and "source"
(also "s"). The last two kinds may have "neg" as well, a list of texts.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from m3rag.errors import InputError
from m3rag.files import json_value
from m3rag.limits import brief, is_number, shown

Row = Mapping[str, Any]
LanguagePair = tuple[str, str]
"""The language of a query and that of a passage; "" if the data do not say."""


@dataclass(frozen=True, slots=True)
class Group:
    """A query with the passages that were drawn for it.

    Attributes:
        query: The text of the query.
        passages: The positive, then the negatives.
        answers: All texts that answer the query, drawn or not.
        key: Groups with the same key are not each other's negatives.
        scores: A teacher's score for each passage; None without a teacher.
    """

    query: str
    passages: tuple[str, ...]
    answers: frozenset[str]
    key: str | None = None
    scores: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """A line of training data.

    Attributes:
        queries: The query, or one query in each of several languages.
        positives: The passages that answer it.
        negatives: Passages that do not answer it.
        translated: Whether queries and positives are the same texts, translations of each other.
        positive_scores: A teacher's score for each positive; empty without a teacher.
        negative_scores: A teacher's score for each negative; empty without a teacher.
        key: Examples with the same key are not each other's negatives.
        source: Where the example comes from.
        query_languages: The language of each query; empty if the line does not say.
        positive_languages: The language of each positive; empty if the line does not say.
    """

    queries: tuple[str, ...]
    positives: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    translated: bool = False
    positive_scores: tuple[float, ...] = ()
    negative_scores: tuple[float, ...] = ()
    key: str | None = None
    source: str | None = None
    query_languages: tuple[str, ...] = ()
    positive_languages: tuple[str, ...] = ()

    def draw(
        self, rng: np.random.Generator, group_size: int, languages: LanguagePair | None = None
    ) -> Group:
        """Draw one query, one positive and `group_size - 1` negatives, or all if fewer.

        `languages`, one of `languages()`, decides which query and which positive.
        """
        if languages is not None and self.query_languages:
            query = self.query_languages.index(languages[0])
            positive = self.positive_languages.index(languages[1])
        else:
            query = int(rng.integers(len(self.queries)))
            positive = int(rng.integers(len(self.positives) - self.translated))
            if self.translated and positive >= query:  # in another language than the query
                positive += 1
        count = min(group_size - 1, len(self.negatives))
        drawn = rng.permutation(len(self.negatives))[:count].tolist()
        scores = None
        if self.positive_scores:
            negative_scores = (self.negative_scores[i] for i in drawn)
            scores = (self.positive_scores[positive], *negative_scores)
        return Group(
            self.queries[query],
            (self.positives[positive], *(self.negatives[i] for i in drawn)),
            frozenset(self.positives),
            self.key,
            scores,
        )

    def languages(self) -> frozenset[LanguagePair]:
        """Return the pairs of a query's and a positive's language that can be drawn."""
        return frozenset(
            (one, other)
            for one in self.query_languages or ("",)
            for other in self.positive_languages or ("",)
            if not (self.translated and one == other)
        )

    @property
    def size(self) -> int:
        """The approximate length of a query and a passage together, in bytes of UTF-8."""
        means = (
            sum(len(text.encode()) for text in texts) / len(texts)
            for texts in (self.queries, self.positives)
        )
        return round(sum(means))


def parse(line: str | bytes) -> Example:
    """Parse a line.

    Raises:
        InputError: The line is not an example. The message says what is wrong, but not where.
    """
    try:
        row = json_value(line)
    except InputError as error:
        raise InputError(f"Not valid JSON: {error}.") from None
    if not isinstance(row, dict):
        raise InputError(f"Expected a JSON object, got {type(row).__name__}.")
    if "query" in row:
        example = _pairs(row)
    elif "q" in row and "p" in row:
        queries, positives = _translations(row, "q"), _translations(row, "p")
        example = Example(
            tuple(queries.values()),
            tuple(positives.values()),
            _texts(row, "neg"),
            query_languages=tuple(queries),
            positive_languages=tuple(positives),
        )
    elif field := next((field for field in ("t", "texts") if field in row), None):
        texts = _translations(row, field)
        if len(texts) < 2:
            raise InputError(
                f'"{field}" has one text, but translations need at least two languages.'
            )
        example = Example(
            tuple(texts.values()),
            tuple(texts.values()),
            _texts(row, "neg"),
            translated=True,
            query_languages=tuple(texts),
            positive_languages=tuple(texts),
        )
    else:
        raise InputError(
            'Expected "query" and "pos", or "t" (translations), or "q" and "p"; the line has '
            f"{shown(list(row))[1:-1] or 'no fields'}."
        )
    key, source = row.get("key"), row.get("source", row.get("s"))
    return replace(
        example,
        key=None if key is None else _name(key, "key"),
        source=None if source is None else _name(source, "source"),
    )


def _pairs(row: Row) -> Example:
    positives, negatives = _texts(row, "pos"), _texts(row, "neg")
    if not positives:
        raise InputError('"pos" is missing or empty: a query needs at least one positive passage.')
    query = _text(row["query"], "query")
    if row.get("prompt") is not None:  # FlagEmbedding trains on "None…" for a missing prompt
        query = _text(row["prompt"], "prompt") + query
    positive_scores = _scores(row, "pos_scores", len(positives))
    negative_scores = _scores(row, "neg_scores", len(negatives))
    if negatives and bool(positive_scores) != bool(negative_scores):
        raise InputError(
            'Only one of "pos_scores" and "neg_scores" is given. Give both or neither.'
        )
    return Example(
        (query,),
        positives,
        negatives,
        positive_scores=positive_scores,
        negative_scores=negative_scores,
    )


def _translations(row: Row, name: str) -> dict[str, str]:
    texts = row[name]
    if not isinstance(texts, dict) or not texts:
        raise InputError(
            f'"{name}" must be a non-empty object of languages and texts, got {shown(texts, 80)}.'
        )
    return {language: _text(text, f"{name}.{language}") for language, text in texts.items()}


def _texts(row: Row, name: str) -> tuple[str, ...]:
    texts = row.get(name)
    if texts is None:
        return ()
    if not isinstance(texts, list):
        raise InputError(f'"{name}" must be a list of texts, got {type(texts).__name__}.')
    return tuple(_text(text, f"{name}[{i}]") for i, text in enumerate(texts))


def _text(text: object, name: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise InputError(
            f'"{brief(name, 80)}" must be a text that is not blank, got {shown(text)}.'
        )
    return text


def _name(value: object, field: str) -> str:
    if isinstance(value, list | dict):
        raise InputError(f'"{field}" must be a string or a number, got {shown(value)}.')
    return str(value)


def _scores(row: Row, name: str, count: int) -> tuple[float, ...]:
    scores = row.get(name)
    if scores is None:
        return ()
    valid = isinstance(scores, list) and all(
        is_number(x) and abs(x) <= sys.float_info.max for x in scores
    )
    if not valid or len(scores) != count:
        raise InputError(
            f'"{name}" must have {count} numbers, one per passage, got {shown(scores)}.'
        )
    return tuple(map(float, scores))
