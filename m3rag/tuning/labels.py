"""Labelled questions for an index, and the scores of the passages that the index finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from m3rag.documents import Passage
from m3rag.errors import InputError
from m3rag.evaluation import beir
from m3rag.evaluation.dataset import UNDETERMINED, Qrels, Query
from m3rag.evaluation.matrices import Scores, SliceScores
from m3rag.evaluation.slices import POOLED, Level, Slice
from m3rag.index import Hit, M3Index
from m3rag.progress import Progress, counting
from m3rag.scoring import named_weights

CANDIDATES = 100  # passages per question on which fusions are tried
_BATCH = 32  # questions per search


@dataclass(frozen=True)
class Labelled:
    """Questions and the ids of the passages, or of the documents, that answer them.

    Attributes:
        name: The name of the questions.
        queries: The questions.
        qrels: Query id -> passage or document id -> grade; a grade above 0 marks an answer.
    """

    name: str
    queries: Sequence[Query]
    qrels: Qrels


def read_labelled(source: str | Path) -> Labelled:
    """Read questions for the documents of an existing index.

    Args:
        source: A folder with `queries.jsonl` and `qrels.tsv`, as in a BEIR set; or a `.jsonl` file
            of `{"question", "document_id" or "passage_id", "id"?, "lang"?}`, where the document or
            passage id may be a list, and lines with the same `id` are one question in several
            languages.

    Raises:
        InputError: `source` is neither, or a line is invalid.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return Labelled(path.resolve().name, *beir.read_questions(path))
    if not path.is_file():
        raise InputError(
            f"There is no file or folder {str(source)!r}. Labelled questions are a folder with "
            "queries.jsonl and qrels.tsv, or a .jsonl file of "
            '{"question", "document_id" or "passage_id"}.'
        )
    queries: list[Query] = []
    qrels: dict[str, dict[str, int]] = {}
    for _, line, row in beir.rows(path):
        language = str(row.get("lang") or UNDETERMINED)
        name = f"{row.get('id', f'line {line}')}-{language}"
        if name in qrels:
            raise InputError(
                f"{path}, line {line}: the question {name!r} occurs a second time. Give each "
                'question an "id" of its own, or each of its languages a "lang".'
            )
        queries.append(Query(name, _question(path, line, row), language))
        qrels[name] = _answers(path, line, row)
    return Labelled(path.stem, queries, qrels)


def index_scores(
    index: M3Index,
    labelled: Labelled,
    *,
    progress: Progress | None = None,
) -> Scores:
    """Search an index for each question and score the passages on all channels, for `tune`.

    All channels retrieve passages. The best 100 by reciprocal rank fusion are kept, with their
    scores on every channel. An answer that is not among them counts as missed for every fusion.

    Args:
        index: The index to search.
        labelled: The questions; the answers are all passages, or all documents.
        progress: Called with the stage "asking".

    Raises:
        InputError: No question has an answer, the index does not have an answer, or some answers
            are passages and others are documents.
    """
    queries = [query for query in labelled.queries if _relevant(labelled, query)]
    if not queries:
        raise InputError(
            f"No question of {labelled.name!r} has an answer, so there is nothing to learn from."
        )
    level = _level(index, {name for query in queries for name in _relevant(labelled, query)})
    report = counting(progress, "asking", len(queries))
    slices = []
    for begin in range(0, len(queries), _BATCH):
        batch = queries[begin : begin + _BATCH]
        results = index.search_many(
            [query.text for query in batch],
            CANDIDATES,
            weights=dict.fromkeys(index.channels, 1.0),
            fusion="rrf",
            channels=index.channels,
        )
        slices += [
            _slice(query, _relevant(labelled, query), hits, index.channels, level)
            for query, hits in zip(batch, results, strict=True)
        ]
        report(len(batch))
    presets = named_weights(index.model.presets)
    return Scores(labelled.name, index.model.name, level, True, slices, presets)


def _slice(
    query: Query,
    relevant: Mapping[str, int],
    hits: Sequence[Hit],
    channels: Sequence[str],
    level: Level,
) -> SliceScores:
    """Return a slice with one query and the hits of its search."""
    units: dict[str, list[Hit]] = {}
    for hit in hits:
        units.setdefault(_unit(hit.passage, level), []).append(hit)
    units = dict(sorted(units.items()))
    ordered = list(chain.from_iterable(units.values()))
    sizes = [len(parts) for parts in units.values()]
    part = Slice(
        subset="",
        language=POOLED,
        units=list(units),
        passages=[hit.passage for hit in ordered],
        starts=np.cumsum([0, *sizes[:-1]]),
        queries=[query],
        relevant=[relevant],
        left_out=0,
    )
    matrices = {c: np.array([[getattr(h, c) for h in ordered]], np.float32) for c in channels}
    return SliceScores(part, matrices)


def _unit(passage: Passage, level: Level) -> str:
    return passage.id if level == "passage" else passage.document_id or passage.id


def _level(index: M3Index, answers: set[str]) -> Level:
    """Return whether the answers are passages or documents of the index."""
    names = sorted(answers)
    passages = index.get(names)
    others = [name for name, passage in zip(names, passages, strict=True) if passage is None]
    unknown = [name for name in others if not index.count({"document_id": name})]
    if unknown:
        raise InputError(
            f"{len(unknown):,} of {len(names):,} answers are neither passages nor documents of the "
            f"index; the first is {unknown[0]!r}. `m3rag info` lists the documents."
        )
    if not others:
        return "passage"
    if len(others) < len(names):
        raise InputError(
            f"{len(others):,} answers are documents and {len(names) - len(others):,} are passages. "
            "Use ids of one kind."
        )
    return "document"


def _relevant(labelled: Labelled, query: Query) -> dict[str, int]:
    return {name: grade for name, grade in labelled.qrels.get(query.id, {}).items() if grade > 0}


def _question(path: Path, line: int, row: Mapping[str, Any]) -> str:
    text = row.get("question")
    if not isinstance(text, str) or not text.strip():
        raise InputError(f'{path}, line {line}: "question" is missing, empty or not a string.')
    return text


def _answers(path: Path, line: int, row: Mapping[str, Any]) -> dict[str, int]:
    value = row.get("passage_id", row.get("document_id"))
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise InputError(
            f'{path}, line {line}: "document_id" or "passage_id" must be an id or a list of ids, '
            f"got {value!r}."
        )
    return dict.fromkeys(names, 1)
