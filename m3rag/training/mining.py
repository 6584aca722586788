"""Hard negatives: high-ranking passages that do not answer the query."""

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
from m3rag.files import json_value, lines, written
from m3rag.index import Hit, M3Index
from m3rag.model.model import M3Model
from m3rag.progress import Progress, counting
from m3rag.scoring import PRESETS, compute_score
from m3rag.training.example import Example
from m3rag.training.examples import Examples

_BATCH = 64  # queries that are searched for together


@dataclass(slots=True)
class Mined:
    """The result of `mine`, in numbers.

    Attributes:
        examples: The number of examples.
        negatives: The number of negatives of all examples together.
        without: The number of examples without negatives.
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

    The search uses dense and sparse vectors and the "default" weights. An answer to the query, to
    an equal query, or to an example with the same key is never a negative.

    Args:
        data: Files of examples; see `m3rag.training.example`.
        to: The file to write: `.jsonl`, `.jsonl.gz` or `.jsonl.zst`.
        model: The model that searches and scores.
        corpus: JSON lines with "text", and optionally "title" to put before it, to search as well.
        negatives: The maximum number of negatives per example, drawn from `ranks`.
        ranks: The first and last rank to draw from, not counting answers. The first ranks often
            hold answers that nobody has marked.
        margin: The minimum distance of a negative's score below that of the best answer.
        scores: Whether to write "pos_scores" and "neg_scores" for a teacher: the weighted sum of
            the three views, divided by `temperature`.
        temperature: The temperature of these scores.
        seed: The seed of the draw.
        progress: Called with (stage, done, total); the stage is "mining", the unit examples.

    Raises:
        InputError: The data or the numbers cannot be used.
    """
    _check(ranks, negatives)
    examples = Examples([data] if isinstance(data, str | Path) else data)
    answers = _Answers(examples)
    texts = _corpus(examples, corpus)
    mined = Mined()
    report = counting(progress, "mining", len(examples))
    with M3Index.open(model=model, colbert="off") as index, written(Path(to)) as file:
        index.add(list(texts))
        for start in range(0, len(examples), _BATCH):
            rng = np.random.default_rng((seed, start))
            numbers = range(start, min(start + _BATCH, len(examples)))
            for i, query, found in _searched(index, examples, numbers, answers, rng, ranks, margin):
                chosen = sorted(rng.permutation(len(found))[:negatives].tolist())
                row = examples.row(i) | {"neg": [found[j] for j in chosen]}
                if scores:
                    row |= _teacher_scores(row, query, model, temperature)
                file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                mined.examples += 1
                mined.negatives += len(chosen)
                mined.without += not chosen
            report(len(numbers))
    return mined


def _check(ranks: tuple[int, int], negatives: int) -> None:
    if not 1 <= ranks[0] <= ranks[1]:
        raise InputError(f"`ranks` must be at least 1 and ascending, got {ranks[0]} to {ranks[1]}.")
    if negatives < 1:
        raise InputError(f"`negatives` must be at least 1, got {negatives}.")


def _corpus(examples: Examples, file: str | Path | None) -> dict[str, None]:
    """Return the texts to search, each once: those of the examples and those of the file."""
    texts = dict.fromkeys(text for e in examples for text in (*e.positives, *e.negatives))
    return texts if file is None else texts | dict.fromkeys(_read_texts(Path(file)))


def _searched(
    index: M3Index,
    examples: Examples,
    numbers: Sequence[int],
    answers: _Answers,
    rng: np.random.Generator,
    ranks: tuple[int, int],
    margin: float | None,
) -> Iterator[tuple[int, str, list[str]]]:
    """Search for a query of each example; yields its number, the query and its hard negatives."""
    batch = [examples[i] for i in numbers]
    queries = [example.draw(rng, 1).query for example in batch]
    known = [answers.of(example) for example in batch]
    depth = ranks[1] + max(map(len, known))
    results = index.search_many(queries, k=depth, candidates=depth)
    for i, query, right, hits in zip(numbers, queries, known, results, strict=True):
        yield i, query, _hard_negatives(hits, right, ranks, margin)


class _Answers:
    """The texts that answer an example, including those listed by related examples."""

    def __init__(self, examples: Iterable[Example]) -> None:
        self._by_label: dict[tuple[str, str], set[str]] = defaultdict(set)
        for example in examples:
            for label in _labels(example):
                self._by_label[label].update(example.positives)

    def of(self, example: Example) -> set[str]:
        known = (self._by_label[label] for label in _labels(example))
        return {*example.queries, *example.positives}.union(*known)


def _labels(example: Example) -> list[tuple[str, str]]:
    """Return the labels of an example; examples with a common label share their answers."""
    labels = [("query", query) for query in example.queries]
    return labels if example.key is None else [*labels, ("key", example.key)]


def _hard_negatives(
    hits: Sequence[Hit], answers: Set[str], ranks: tuple[int, int], margin: float | None
) -> list[str]:
    """Return the texts at the given ranks that are not answers, far enough below the best one."""
    wrong = [hit for hit in hits if hit.passage.text not in answers][ranks[0] - 1 : ranks[1]]
    if margin is not None:
        # If no answer is among the hits, all answers score less than the hits.
        best = max((hit.score for hit in hits if hit.passage.text in answers), default=-math.inf)
        wrong = [hit for hit in wrong if hit.score <= best - margin]
    return [hit.passage.text for hit in wrong]


def _teacher_scores(
    row: Mapping[str, Any], query: str, model: M3Model, temperature: float
) -> dict[str, list[float]]:
    """Return the scores of a teacher: the logits of the loss, before the softmax."""
    if "query" not in row:
        raise InputError('`scores` needs lines with "query" and "pos"; it is not for translations.')
    passages = [*row["pos"], *row["neg"]]
    weights = [PRESETS["default"][view] for view in ("dense", "sparse", "colbert")]
    pairs = [(query, passage) for passage in passages]
    mean = compute_score(model, pairs, weights=(weights[0], weights[1], weights[2]))
    logits = [sum(weights) * score / temperature for score in mean["colbert+sparse+dense"]]
    count = len(row["pos"])
    return {"pos_scores": logits[:count], "neg_scores": logits[count:]}


def _read_texts(path: Path) -> Iterator[str]:
    for number, line in enumerate(lines(path), start=1):
        try:
            row = json_value(line)
            yield f"{row['title']}\n{row['text']}" if row.get("title") else row["text"]
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InputError(f'{path}, line {number} is not a JSON object with a "text".') from None
