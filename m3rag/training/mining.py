"""Hard negatives: what the index finds for a query and is no answer."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m3rag.errors import InputError
from m3rag.files import lines, written
from m3rag.index import Hit, M3Index
from m3rag.model.model import M3Model
from m3rag.progress import Progress, counting
from m3rag.scoring import PRESETS, compute_score
from m3rag.training.example import Example
from m3rag.training.examples import Examples

_AT_ONCE = 64  # queries


@dataclass(slots=True)
class Mined:
    """What was found.

    Attributes:
        examples: how many there are.
        negatives: how many they got together.
        without: how many got none.
    """

    examples: int = 0
    negatives: int = 0
    without: int = 0


def mine(
    data: str | Path | Iterable[str | Path],
    to: str | Path,
    *,
    model: M3Model,
    corpus: str | Path | None = None,
    negatives: int = 7,
    ranks: tuple[int, int] = (10, 200),
    margin: float | None = None,
    scores: bool = False,
    temperature: float = 0.02,
    seed: int = 0,
    progress: Progress | None = None,
) -> Mined:
    """Write the examples again, each with hard negatives as its "neg".

    Each query searches dense and sparse vectors with the "default" weights. A negative is never
    an answer to the query, to one with the same words, or to one with the same key.

    Args:
        data: Files of examples; see `m3rag.training.example`.
        to: The file to write, `.jsonl`, `.jsonl.gz` or `.jsonl.zst`.
        model: What searches and scores.
        corpus: A file of JSON lines with a "text" each, and perhaps a "title" before it; without
            one, the passages of the data.
        negatives: How many an example gets at most, drawn from `ranks`.
        ranks: The first and last rank a negative may have, counted without the answers. The very
            first are often answers that nobody has marked.
        margin: How far below that of the best answer a negative's score must be, at least.
        scores: Whether to write "pos_scores" and "neg_scores", too, for a run with a teacher: the
            sum of the three views over the temperature.
        temperature: What these scores are divided by.
        seed: What the drawing follows from.
        progress: Called with the stage "mining".

    Raises:
        InputError: Data or numbers that cannot be used.
    """
    if not 1 <= ranks[0] <= ranks[1] or negatives < 1:
        raise InputError(
            f"ranks {ranks[0]} to {ranks[1]}, {negatives} negatives: all must be at least 1."
        )
    examples = Examples([data] if isinstance(data, str | Path) else data)
    answers = _Answers(examples)
    texts = _corpus(examples, corpus)
    mined = Mined()
    report = counting(progress, "mining", len(examples))
    with M3Index.open(model=model, colbert="off") as index, written(Path(to)) as file:
        index.add(texts)
        for start in range(0, len(examples), _AT_ONCE):
            rng = np.random.default_rng((seed, start))
            numbers = range(start, min(start + _AT_ONCE, len(examples)))
            for i, query, hard in _searched(index, examples, numbers, answers, rng, ranks, margin):
                chosen = sorted(rng.permutation(len(hard))[:negatives].tolist())
                row = examples.row(i) | {"neg": [hard[j] for j in chosen]}
                if scores:
                    row |= _scores(row, query, model, temperature)
                file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                mined.examples += 1
                mined.negatives += len(chosen)
                mined.without += not chosen
            report(len(numbers))
    return mined


def _corpus(examples: Examples, more: str | Path | None) -> dict[str, None]:
    """Return the texts to search, each once: those of the examples, and those of a file."""
    texts = dict.fromkeys(text for e in examples for text in (*e.positives, *e.negatives))
    return texts if more is None else texts | dict.fromkeys(_passages(Path(more)))


def _searched(
    index: M3Index,
    examples: Examples,
    numbers: Sequence[int],
    answers: _Answers,
    rng: np.random.Generator,
    ranks: tuple[int, int],
    margin: float | None,
) -> Iterator[tuple[int, str, list[str]]]:
    """Search for a query of each example; yields its number, the query and the hard negatives."""
    some = [examples[i] for i in numbers]
    queries = [example.draw(rng, 1).query for example in some]
    right = [answers.of(example) for example in some]
    depth = ranks[1] + max(map(len, right))
    results = index.search_many(queries, k=depth, candidates=depth)
    for i, query, known, hits in zip(numbers, queries, right, results, strict=True):
        yield i, query, _among(hits, known, ranks, margin)


class _Answers:
    """Every text that answers an example, though another one says so."""

    def __init__(self, examples: Iterable[Example]) -> None:
        self._by_label: dict[tuple[str, str], set[str]] = defaultdict(set)
        for example in examples:
            for label in _labels(example):
                self._by_label[label].update(example.positives)

    def of(self, example: Example) -> set[str]:
        known = (self._by_label[label] for label in _labels(example))
        return {*example.queries, *example.positives}.union(*known)


def _labels(example: Example) -> list[tuple[str, str]]:
    """Examples with a label in common have their answers in common."""
    labels = [("query", query) for query in example.queries]
    return labels if example.key is None else [*labels, ("key", example.key)]


def _among(
    hits: Sequence[Hit], known: Set[str], ranks: tuple[int, int], margin: float | None
) -> list[str]:
    """The texts at some ranks that are no known answers, far enough below the best answer."""
    wrong = [hit for hit in hits if hit.passage.text not in known][ranks[0] - 1 : ranks[1]]
    if margin is not None:
        # An answer that was not found is below all that were.
        best = max((hit.score for hit in hits if hit.passage.text in known), default=-math.inf)
        wrong = [hit for hit in wrong if hit.score <= best - margin]
    return [hit.passage.text for hit in wrong]


def _scores(
    row: Mapping[str, Any], query: str, model: M3Model, temperature: float
) -> dict[str, list[float]]:
    """A teacher's scores: what the loss makes of its views, before the softmax."""
    if "query" not in row:
        raise InputError('scores are for lines with "query" and "pos", not for translations.')
    passages = [*row["pos"], *row["neg"]]
    weights = [PRESETS["default"][view] for view in ("dense", "sparse", "colbert")]
    pairs = [(query, passage) for passage in passages]
    mean = compute_score(model, pairs, weights=(weights[0], weights[1], weights[2]))
    logits = [sum(weights) * score / temperature for score in mean["colbert+sparse+dense"]]
    count = len(row["pos"])
    return {"pos_scores": logits[:count], "neg_scores": logits[count:]}


def _passages(path: Path) -> Iterator[str]:
    for number, line in enumerate(lines(path), start=1):
        try:
            row = json.loads(line)
            yield f"{row['title']}\n{row['text']}" if row.get("title") else row["text"]
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InputError(f'{path}, line {number}: no JSON object with a "text".') from None
