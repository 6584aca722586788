"""Questions for an index whose answers are known, and the scores of what the index finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from m3rag.progress import Progress
from m3rag.scoring import named_weights

CANDIDATES = 100  # passages of each question that fusions are tried on
_BATCH = 32  # questions asked together


@dataclass(frozen=True)
class Labelled:
    """Questions and the ids of the passages, or of the documents, that answer them.

    Attributes:
        name: what they are called.
        queries: the questions.
        qrels: query id -> passage or document id -> grade; above 0 is an answer.
    """

    name: str
    queries: Sequence[Query]
    qrels: Qrels


def read_labelled(source: str | Path) -> Labelled:
    """Read questions for documents that are in an index already.

    Args:
        source: a folder with `queries.jsonl` and `qrels.tsv`, as in a BEIR set; or a `.jsonl` file
            of `{"question", "document_id" or "passage_id", "id"?, "lang"?}`, where the id may be a
            list, and lines with one `id` are one question in several languages.

    Raises:
        InputError: neither, or a line is not what it should be.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return Labelled(path.resolve().name, *beir.read_questions(path))
    if not path.is_file():
        raise InputError(
            f"There is no {str(source)!r}. Labelled questions are a folder with queries.jsonl and "
            'qrels.tsv, or a .jsonl file of {"question", "document_id" or "passage_id"}.'
        )
    queries, qrels = [], {}
    for _, line, row in beir.rows(path):
        language = str(row.get("lang") or UNDETERMINED)
        name = f"{row.get('id', f'line {line}')}-{language}"
        if name in qrels:
            raise InputError(f"{path}, line {line}: the question {name!r} is there twice.")
        queries.append(Query(name, _question(path, line, row), language))
        qrels[name] = _answers(path, line, row)
    return Labelled(path.stem, queries, qrels)


def index_scores(
    index: M3Index,
    labelled: Labelled,
    *,
    progress: Progress | None = None,
) -> Scores:
    """What an index finds for each question, scored on every channel it has, for `tune`.

    All channels propose passages; the best 100 by ranks are kept, each with all its scores. An
    answer that is not among them is lost for every fusion alike.

    Args:
        index: what is asked.
        labelled: the questions; all answers are passages, or all are documents.
        progress: Called with the stage "asking".

    Raises:
        InputError: no question, answers the index does not have, or passages beside documents.
    """
    asked = [query for query in labelled.queries if _relevant(labelled, query)]
    if not asked:
        raise InputError(f"No question of {labelled.name!r} has an answer: nothing to learn from.")
    level = _level(index, {name for query in asked for name in _relevant(labelled, query)})
    slices = []
    for at in range(0, len(asked), _BATCH):
        some = asked[at : at + _BATCH]
        found = index.search_many(
            [query.text for query in some],
            CANDIDATES,
            weights=dict.fromkeys(index.channels, 1.0),
            fusion="rrf",
            channels=index.channels,
        )
        slices += [
            _slice(query, _relevant(labelled, query), hits, index.channels, level)
            for query, hits in zip(some, found, strict=True)
        ]
        if progress:
            progress("asking", at + len(some), len(asked))
    presets = named_weights(index.model.presets)
    return Scores(labelled.name, index.model.name, level, True, slices, presets)


def _slice(
    query: Query,
    relevant: Mapping[str, int],
    hits: Sequence[Hit],
    channels: Sequence[str],
    level: Level,
) -> SliceScores:
    """A slice with one query and what was found for it."""
    units: dict[str, list[Hit]] = {}
    for hit in hits:
        units.setdefault(_unit(hit.passage, level), []).append(hit)
    units = dict(sorted(units.items()))
    ordered = [hit for some in units.values() for hit in some]
    sizes = [len(some) for some in units.values()]
    one = Slice(
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
    return SliceScores(one, matrices)


def _unit(passage: Passage, level: Level) -> str:
    return passage.id if level == "passage" else passage.document_id or passage.id


def _level(index: M3Index, answers: set[str]) -> Level:
    """Whether the answers are passages or documents of the index ("document")."""
    names = sorted(answers)
    found = index.get(names)
    others = [name for name, passage in zip(names, found, strict=True) if passage is None]
    unknown = [name for name in others if not index.count({"document_id": name})]
    if unknown:
        raise InputError(
            f"{len(unknown):,} of {len(names):,} answers are neither passages nor documents of the "
            f"index, the first is {unknown[0]!r}. `m3rag info` lists the documents."
        )
    if not others:
        return "passage"
    if len(others) < len(names):
        raise InputError(
            f"{len(others):,} answers are documents and {len(names) - len(others):,} are passages: "
            "use ids of one kind."
        )
    return "document"


def _relevant(labelled: Labelled, query: Query) -> dict[str, int]:
    return {name: grade for name, grade in labelled.qrels.get(query.id, {}).items() if grade > 0}


def _question(path: Path, line: int, row: Mapping[str, Any]) -> str:
    text = row.get("question")
    if not isinstance(text, str) or not text.strip():
        raise InputError(f'{path}, line {line} has no "question".')
    return text


def _answers(path: Path, line: int, row: Mapping[str, Any]) -> dict[str, int]:
    given = row.get("passage_id", row.get("document_id"))
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise InputError(
            f'{path}, line {line}: "document_id" or "passage_id" must be an id or a list of them, '
            f"got {given!r}."
        )
    return dict.fromkeys(names, 1)
