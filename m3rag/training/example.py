"""One line of training data, and what is drawn from it.

Three kinds of lines, freely mixed:

    {"query": text, "pos": [text, …], "neg": [text, …]}   FlagEmbedding's own; "neg" is optional, so
                                                          are "pos_scores" and "neg_scores" (a
                                                          teacher's) and "prompt" (put before query)
    {"t": {"en": text, "es": text, …}}                    translations of each other; also "texts"
    {"q": {"en": text, …}, "p": {"es": text, …}}          queries and passages in several languages

Optional in each: "key" (examples with the same one are not each other's negatives) and "source"; in
the last two also "neg", a list of texts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from m3rag.errors import InputError

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Group:
    """A query with the passages that were drawn for it.

    Attributes:
        query: the text.
        passages: the positive, then negatives.
        answers: every text that is right for the query, drawn or not.
        key: groups with the same one are not each other's negatives.
        scores: a teacher's, one for each passage.
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
        queries: one, or one in each of several languages.
        positives: the passages that answer it.
        negatives: passages that do not.
        translated: queries and positives are the same texts, translations of each other.
        positive_scores: a teacher's, empty without one.
        negative_scores: the same for the negatives.
        key: examples with the same one are not each other's negatives.
        source: where it comes from.
    """

    queries: tuple[str, ...]
    positives: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    translated: bool = False
    positive_scores: tuple[float, ...] = ()
    negative_scores: tuple[float, ...] = ()
    key: str | None = None
    source: str | None = None

    def draw(self, rng: np.random.Generator, group_size: int) -> Group:
        """One query, one positive, `group_size - 1` negatives or all there are."""
        asked = int(rng.integers(len(self.queries)))
        positive = int(rng.integers(len(self.positives) - self.translated))
        if self.translated and positive >= asked:  # another language than the query's
            positive += 1
        count = min(group_size - 1, len(self.negatives))
        drawn = rng.permutation(len(self.negatives))[:count].tolist()
        scores = None
        if self.positive_scores:
            negative_scores = (self.negative_scores[i] for i in drawn)
            scores = (self.positive_scores[positive], *negative_scores)
        return Group(
            self.queries[asked],
            (self.positives[positive], *(self.negatives[i] for i in drawn)),
            frozenset(self.positives),
            self.key,
            scores,
        )

    @property
    def size(self) -> int:
        """About how long a query and a passage are together, in bytes of UTF-8."""
        means = (
            sum(len(text.encode()) for text in texts) / len(texts)
            for texts in (self.queries, self.positives)
        )
        return round(sum(means))


def parse(line: str | bytes) -> Example:
    """Read a line.

    Raises:
        InputError: it is no example; the message says what is wrong, not where.
    """
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"not JSON: {error}.") from None
    if not isinstance(row, dict):
        raise InputError(f"a JSON object is needed, got {type(row).__name__}.")
    if "query" in row:
        example = _pairs(row)
    elif "q" in row and "p" in row:
        example = Example(_translations(row, "q"), _translations(row, "p"), _texts(row, "neg"))
    elif name := next((name for name in ("t", "texts") if name in row), None):
        texts = _translations(row, name)
        if len(texts) < 2:
            raise InputError(f"{name!r} has one text; translations need at least two languages.")
        example = Example(texts, texts, _texts(row, "neg"), translated=True)
    else:
        raise InputError(
            'neither "query" and "pos", nor "t" (translations), nor "q" and "p"; it has '
            f"{', '.join(map(repr, row)) or 'nothing'}."
        )
    key, source = row.get("key"), row.get("source", row.get("s"))
    return replace(
        example,
        key=None if key is None else str(key),
        source=None if source is None else str(source),
    )


def _pairs(row: Row) -> Example:
    positives, negatives = _texts(row, "pos"), _texts(row, "neg")
    if not positives:
        raise InputError('"pos" is empty: a query needs at least one positive passage.')
    query = _text(row["query"], "query")
    if row.get("prompt") is not None:  # FlagEmbedding trains on "None…" where there is none
        query = _text(row["prompt"], "prompt") + query
    positive_scores = _scores(row, "pos_scores", len(positives))
    negative_scores = _scores(row, "neg_scores", len(negatives))
    if negatives and bool(positive_scores) != bool(negative_scores):
        raise InputError('only one of "pos_scores" and "neg_scores"; a teacher scores both.')
    return Example(
        (query,),
        positives,
        negatives,
        positive_scores=positive_scores,
        negative_scores=negative_scores,
    )


def _translations(row: Row, name: str) -> tuple[str, ...]:
    texts = row[name]
    if not isinstance(texts, dict) or not texts:
        raise InputError(f'"{name}" must map languages to texts, got {type(texts).__name__}.')
    return tuple(_text(text, f"{name}.{language}") for language, text in texts.items())


def _texts(row: Row, name: str) -> tuple[str, ...]:
    texts = row.get(name)
    if texts is None:
        return ()
    if not isinstance(texts, list):
        raise InputError(f'"{name}" must be a list of texts, got {type(texts).__name__}.')
    return tuple(_text(text, f"{name}[{i}]") for i, text in enumerate(texts))


def _text(text: object, name: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise InputError(f'"{name}" must be a text that is not blank, got {text!r}.')
    return text


def _scores(row: Row, name: str, count: int) -> tuple[float, ...]:
    scores = row.get(name)
    if scores is None:
        return ()
    numbers = isinstance(scores, list) and all(
        isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in scores
    )
    if not numbers or len(scores) != count:
        raise InputError(f'"{name}" must be {count} numbers, one a passage, got {scores!r}.')
    return tuple(map(float, scores))
