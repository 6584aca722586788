"""Retrieval sets in BEIR format: `corpus.jsonl`, `queries.jsonl`, `qrels.tsv`, plain or compressed.

    corpus.jsonl    {"_id", "text", "title"?, "lang"?, "set"?}
    queries.jsonl   {"_id", "text", "lang"?, "set"?, "spans": {document id: [start, end]}?}
    qrels.tsv       query-id, corpus-id, score; an optional header line

Spans count characters of the document's `text`, without the title.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from m3rag import files
from m3rag.errors import InputError
from m3rag.evaluation.dataset import UNDETERMINED, CorpusDocument, Qrels, Query
from m3rag.limits import shown

_ENDINGS = ("", ".zst", ".gz")
_QRELS = ("qrels.tsv", "qrels/test.tsv")
_LARGEST_GRADE = 1_000_000


def read(folder: Path) -> tuple[list[CorpusDocument], list[Query], Qrels]:
    """Read the documents, queries and qrels of a set.

    Args:
        folder: The folder with the three files.

    Raises:
        InputError: A file is missing or has an invalid line.
    """
    offsets: dict[str, int] = {}
    corpus = []
    for path, line, row in rows(_find(folder, "corpus.jsonl")):
        title = _optional(path, line, row, "title")
        head = f"{title}\n\n" if title else ""
        name, text, language, subset = _fields(path, line, row)
        offsets[name] = len(head)
        corpus.append(CorpusDocument(name, head + text, language, subset))
    return corpus, *read_questions(folder, offsets)


def read_questions(
    folder: Path, offsets: Mapping[str, int] | None = None
) -> tuple[list[Query], Qrels]:
    """Read only the queries and qrels of a set, for a corpus that is stored elsewhere.

    Args:
        folder: The folder with the two files.
        offsets: Document id -> the number of characters that its title adds before its text.

    Raises:
        InputError: A file is missing or has an invalid line.
    """
    queries = []
    for path, line, row in rows(_find(folder, "queries.jsonl")):
        queries.append(Query(*_fields(path, line, row), _spans(path, line, row, offsets or {})))
    return queries, _qrels(_find(folder, *_QRELS))


def _find(folder: Path, *names: str) -> Path:
    """Return the first of the files that exists, plain or compressed."""
    for name in names:
        for ending in _ENDINGS:
            if (path := folder / f"{name}{ending}").is_file():
                return path
    raise InputError(
        f"The folder {folder} has no {' or '.join(names)} (plain, .zst or .gz), so it is not a "
        "retrieval set. A retrieval set has corpus.jsonl, queries.jsonl and qrels.tsv."
    )


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line; decompresses files that end in .gz or .zst.

    Raises:
        InputError: The file is damaged or not UTF-8, or a line is longer than the limit.
        MissingExtraError: The file ends in .zst, and the library that reads it is not installed.
    """
    for number, line in enumerate(files.lines(path, extra="evaluate"), 1):
        try:
            yield number, line.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"{path}, line {number} cannot be read: {error}.") from None


def rows(path: Path) -> Iterator[tuple[Path, int, Mapping[str, Any]]]:
    """Yield the path, the line number and the JSON object of each line of a file.

    Raises:
        InputError: A line is not a JSON object.
    """
    for number, line in text_lines(path):
        if not line.strip():
            continue
        try:
            row = files.json_value(line)
        except InputError as error:
            raise InputError(f"{path}, line {number} is not JSON: {error}.") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number} is not a JSON object.")
        yield path, number, row


def _fields(path: Path, line: int, row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Return the id, text, language and subset of a line."""
    for name in ("_id", "text"):
        if not isinstance(row.get(name), str):
            raise InputError(f"{path}, line {line}: {name!r} is missing or not a string.")
    return (
        row["_id"],
        row["text"],
        _optional(path, line, row, "lang") or UNDETERMINED,
        _optional(path, line, row, "set"),
    )


def _optional(path: Path, line: int, row: Mapping[str, Any], name: str) -> str:
    """Return a field as a string; "" if it is missing, null, or empty."""
    value = row.get(name)
    if isinstance(value, list | dict) and value:
        raise InputError(f"{path}, line {line}: {name!r} must be a string, got {shown(value)}.")
    return str(value or "")


def _spans(
    path: Path, line: int, row: Mapping[str, Any], offsets: Mapping[str, int]
) -> dict[str, tuple[int, int]]:
    """Return a query's spans, shifted by the length of each document's title."""
    given = row.get("spans") or {}
    if not isinstance(given, dict):
        raise InputError(
            f"{path}, line {line}: 'spans' must be an object of document ids and [start, end], got "
            f"{shown(given)}."
        )
    spans = {}
    for document, span in given.items():
        try:
            start, end = span
            if type(start) is not int or type(end) is not int or not 0 <= start <= end < 1 << 53:
                raise ValueError
        except (TypeError, ValueError):
            raise InputError(
                f"{path}, line {line}: the span of the document {shown(document)} must be "
                f"[start, end], got {shown(span)}."
            ) from None
        offset = offsets.get(document, 0)
        spans[document] = (start + offset, end + offset)
    return spans


def _qrels(path: Path) -> Qrels:
    grades: dict[str, dict[str, int]] = {}
    for number, line in text_lines(path):
        cells = line.rstrip("\r\n").split("\t")
        if (number == 1 and cells[-1] == "score") or not line.strip():
            continue
        try:
            query, document, grade = cells
            if abs(value := int(grade)) > _LARGEST_GRADE:
                raise ValueError
        except ValueError:
            raise InputError(
                f"{path}, line {number} must be query-id, corpus-id and an integer score of at "
                f"most {_LARGEST_GRADE:,}, separated by tabs, got {shown(line.strip())}."
            ) from None
        grades.setdefault(query, {})[document] = value
    return grades
