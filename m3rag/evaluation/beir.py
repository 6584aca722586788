"""A folder in BEIR form: `corpus.jsonl`, `queries.jsonl`, `qrels.tsv`, plain or compressed.

    corpus.jsonl    {"_id", "text", "title"?, "lang"?, "set"?}
    queries.jsonl   {"_id", "text", "lang"?, "set"?, "spans": {document id: [start, end]}?}
    qrels.tsv       query-id, corpus-id, score; a heading line if there is one

Spans count characters of the document's `text`, the title left out.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from m3rag import files
from m3rag.errors import InputError
from m3rag.evaluation.dataset import UNDETERMINED, CorpusDocument, Qrels, Query

_ENDINGS = ("", ".zst", ".gz")
_QRELS = ("qrels.tsv", "qrels/test.tsv")


def read(folder: Path) -> tuple[list[CorpusDocument], list[Query], Qrels]:
    """The three parts of a set.

    Raises:
        InputError: a file is missing, or a line is not what it should be.
    """
    offsets: dict[str, int] = {}
    corpus = []
    for path, line, row in rows(_find(folder, "corpus.jsonl")):
        title = str(row.get("title") or "")
        head = f"{title}\n\n" if title else ""
        name, text, language, subset = _fields(path, line, row)
        offsets[name] = len(head)
        corpus.append(CorpusDocument(name, head + text, language, subset))
    return corpus, *read_questions(folder, offsets)


def read_questions(
    folder: Path, offsets: Mapping[str, int] | None = None
) -> tuple[list[Query], Qrels]:
    """Queries and qrels alone, for a corpus that is elsewhere.

    Args:
        folder: where the two files are.
        offsets: what a title takes in front of a document's text, by document id.

    Raises:
        InputError: a file is missing, or a line is not what it should be.
    """
    queries = []
    for path, line, row in rows(_find(folder, "queries.jsonl")):
        queries.append(Query(*_fields(path, line, row), _spans(path, line, row, offsets or {})))
    return queries, _qrels(_find(folder, *_QRELS))


def _find(folder: Path, *names: str) -> Path:
    """The first file that exists, as such or compressed."""
    for name in names:
        for ending in _ENDINGS:
            if (path := folder / f"{name}{ending}").is_file():
                return path
    raise InputError(
        f"{folder} has no {' or '.join(names)} (nor with .zst or .gz): it is not a retrieval set. "
        "One has corpus.jsonl, queries.jsonl and qrels.tsv."
    )


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """A text file for reading, decompressed if its name ends in .gz or .zst.

    Raises:
        InputError: the file is damaged, or not UTF-8.
        MissingExtraError: a .zst file, without the library that reads it.
    """
    with files.opened(path, extra="evaluate") as file:
        yield io.TextIOWrapper(file, encoding="utf-8")


def rows(path: Path) -> Iterator[tuple[Path, int, Mapping[str, Any]]]:
    """Each line of a file of JSON objects: the file, the line's number, the object.

    Raises:
        InputError: a line is no JSON object.
    """
    with opened(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"{path}, line {number} is not JSON: {error}.") from None
            if not isinstance(row, dict):
                raise InputError(f"{path}, line {number} is not a JSON object.")
            yield path, number, row


def _fields(path: Path, line: int, row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Id, text, language and subset of a line."""
    for name in ("_id", "text"):
        if not isinstance(row.get(name), str):
            raise InputError(f"{path}, line {line} has no string {name!r}.")
    return (
        row["_id"],
        row["text"],
        str(row.get("lang") or UNDETERMINED),
        str(row.get("set") or ""),
    )


def _spans(
    path: Path, line: int, row: Mapping[str, Any], offsets: Mapping[str, int]
) -> dict[str, tuple[int, int]]:
    """A query's spans, moved by what the title takes in each document."""
    found = {}
    for document, span in (row.get("spans") or {}).items():
        try:
            start, end = (int(at) for at in span)
        except (TypeError, ValueError):
            raise InputError(
                f"{path}, line {line}: the span in {document!r} is {span!r}, not [start, end]."
            ) from None
        offset = offsets.get(document, 0)
        found[document] = (start + offset, end + offset)
    return found


def _qrels(path: Path) -> Qrels:
    grades: dict[str, dict[str, int]] = {}
    with opened(path) as file:
        for number, line in enumerate(file, 1):
            cells = line.rstrip("\r\n").split("\t")
            if (number == 1 and cells[-1] == "score") or not line.strip():
                continue
            try:
                query, document, grade = cells
                grades.setdefault(query, {})[document] = int(grade)
            except ValueError:
                raise InputError(
                    f"{path}, line {number} is not query-id, corpus-id and a whole score, "
                    f"separated by tabs: {line.strip()!r}."
                ) from None
    return grades
