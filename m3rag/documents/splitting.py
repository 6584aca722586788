"""Splitting documents into passages along their structure, within the model's limit."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from m3rag.documents.boundaries import Rank, atoms, seam
from m3rag.documents.document import Document, Heading, Passage, with_header
from m3rag.documents.filling import Filling
from m3rag.documents.sentences import sentences
from m3rag.documents.tables import Table, Tables, tables
from m3rag.errors import InputError

SPECIAL_TOKENS = 2  # <s> and </s>
SMALLEST_LIMIT = 16
# On one giant string, tokenizers are slow or use much memory, and so does a list of all tokens.
_BLOCK = 4096  # characters in one text for the tokenizer
_BATCH = 1 << 18  # characters in one call

Span = tuple[int, int]


class _Piece(NamedTuple):
    """A passage in the making: `text[start:end]`, encoded with the header of its table."""

    start: int
    end: int
    header: str


class SpanTokenizer(Protocol):
    """A tokenizer that reports the positions of its tokens in a text."""

    def spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Return the character spans of the tokens of each text, without `<s>` and `</s>`."""
        ...


def split(
    document: Document,
    tokenizer: SpanTokenizer,
    *,
    max_tokens: int = 512,
    overlap: int | None = None,
    table_header: str = "",
) -> list[Passage]:
    """Split a document into passages of at most `max_tokens` tokens.

    A passage ends at the strongest boundary near the limit: heading, paragraph, line, sentence,
    clause, word or, in text without any of these, a place that splits no visible character. Code
    blocks, tables and lists stay whole where they fit. A passage continues into subsections, but
    into a section of the same or a higher level only while the passage or the rest of the document
    is tiny (under an eighth of the limit). One that continues a table has the header of the table
    as `table_header`, unless the header is longer than half of the limit.

    Args:
        document: The document to split.
        tokenizer: The model's tokenizer, or any object that reports the spans of its tokens.
        max_tokens: The largest size of a passage in tokens, including `<s>` and `</s>`; at least
            16. `model.passage_tokens` is the size that suits a model.
        overlap: How many tokens from the end of a passage the next passage of the same section may
            repeat, in whole sentences; less than half of `max_tokens`. An eighth of it by default.
        table_header: The header of the table that the text starts in the middle of, if the
            document is a passage that is split further.

    Returns:
        Passages in the order of the text, with ascending starts. All text that is not white space
        is in at least one of them, and `document.text[p.start:p.end] == p.text` for each.

    Raises:
        InputError: A limit is out of range, the text is not valid Unicode, or a single character
            is longer than `max_tokens`.
    """
    if overlap is None:
        overlap = usual_overlap(max_tokens)
    _check(document, max_tokens, overlap)
    if not document.text.strip():
        return []
    text, limit = document.text, max_tokens - SPECIAL_TOKENS
    pieces = atoms(document, _token_ends(text, tokenizer), limit)
    known, sizes = _with_sizes(tables(text, table_header), tokenizer, limit // 2)
    for table in known:  # no passage ends with a header
        at = bisect_left(pieces.starts, table.start)
        pieces.ranks[at] = min(pieces.ranks[at], Rank.ORPHAN)
    header = Tables(known).header
    headers = [sizes[header(start)] for start in pieces.starts[:-1]]
    filling = Filling(pieces, document.headings, headers, limit=limit, overlap=overlap)
    stripped = (_strip(text, start, end) for start, end in filling.spans())
    return _passages(document, _within(text, stripped, tokenizer, limit, header))


def usual_overlap(max_tokens: int) -> int:
    """Return the overlap of passages of a length, unless another is given: an eighth of it."""
    return max_tokens // 8


def _check(document: Document, max_tokens: int, overlap: int) -> None:
    if max_tokens < SMALLEST_LIMIT:
        raise InputError(f"max_tokens={max_tokens} is too small. Use {SMALLEST_LIMIT} or more.")
    if not 0 <= overlap < max_tokens / 2:
        raise InputError(
            f"overlap={overlap} must be at least 0 and less than half of max_tokens={max_tokens}."
        )
    try:
        document.text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"Document {document.id!r} has half of a surrogate pair at character {error.start}, "
            "which is not valid Unicode. Decode the text correctly, or replace the character with "
            "U+FFFD."
        ) from error


def _token_ends(text: str, tokenizer: SpanTokenizer) -> NDArray[np.int64]:
    """Return the end position of each token of a text, ascending."""
    starts = [0]
    while (end := starts[-1] + _BLOCK) < len(text):
        # Two words are tokenized the same together and apart, so blocks end between words.
        cut = max(text.rfind("\n", starts[-1], end), text.rfind(" ", end - _BLOCK // 4, end)) + 1
        starts.append(cut or end)
    blocks = [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
    counted = _tokenize(blocks, tokenizer)
    ends = [
        start + np.fromiter((end for _, end in spans), np.int64, len(spans))
        for start, spans in zip(starts, counted, strict=True)
    ]
    return np.sort(np.concatenate(ends))  # normalization may swap two marks of one letter


def _tokenize(texts: Sequence[str], tokenizer: SpanTokenizer) -> Iterator[list[Span]]:
    """Yield the tokens of each text, calling the tokenizer with batches of limited size."""
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= _BATCH:
            yield from tokenizer.spans(batch)
            batch, size = [], 0
    if batch:
        yield from tokenizer.spans(batch)


def _with_sizes(
    found: Sequence[Table], tokenizer: SpanTokenizer, most: int
) -> tuple[list[Table], dict[str, int]]:
    """Return the tables whose header has at most so many tokens, and the tokens by header."""
    headers = list(dict.fromkeys(["", *(table.header for table in found)]))
    counted = zip(headers, _tokenize(headers, tokenizer), strict=True)
    sizes = {header: len(tokens) for header, tokens in counted}
    return [table for table in found if sizes[table.header] <= most], sizes


def _within(
    text: str,
    spans: Iterable[Span],
    tokenizer: SpanTokenizer,
    limit: int,
    header: Callable[[int], str],
) -> list[_Piece]:
    """Count the tokens of every passage on its own, and halve the few that are too long.

    Tokenization depends on the surrounding text, so only this count is exact.
    """
    kept: dict[int, _Piece] = {}
    waiting = [_Piece(start, end, header(start)) for start, end in spans]
    while waiting:
        texts = [with_header(piece.header, text[piece.start : piece.end]) for piece in waiting]
        too_long: list[_Piece] = []
        for piece, tokens in zip(waiting, _tokenize(texts, tokenizer), strict=True):
            start, end, above = piece
            if len(tokens) <= limit:
                kept[start] = max(piece, kept.get(start, piece))
            elif end - start > 1:
                too_long += (_Piece(*half, header(half[0])) for half in _halves(text, start, end))
            elif above:
                too_long.append(piece._replace(header=""))
            else:
                raise InputError(
                    f"The character {text[start]!r} alone is {len(tokens)} tokens long. Use "
                    f"max_tokens={len(tokens) + SPECIAL_TOKENS} or more."
                )
        waiting = too_long
    return sorted(kept.values())


def _halves(text: str, start: int, end: int) -> list[Span]:
    """Cut a passage in two, between the sentences nearest to its middle if it has several."""
    middle = (start + end) // 2
    starts = [start + first for first, _ in sentences(text[start:end])][1:]
    cut = min(starts, key=lambda at: abs(at - middle)) if starts else seam(text, start, middle)
    return [_strip(text, start, cut), _strip(text, cut, end)]


def _strip(text: str, start: int, end: int) -> Span:
    piece = text[start:end]
    return end - len(piece.lstrip()), start + len(piece.rstrip())


def _passages(document: Document, pieces: Sequence[_Piece]) -> list[Passage]:
    headings = sorted(document.headings, key=lambda heading: heading.start)
    starts = [heading.start for heading in headings]
    paths = [(), *_paths(headings)]
    passages = []
    for number, (start, end, header) in enumerate(pieces):
        touched = paths[bisect_right(starts, start) : bisect_left(starts, end) + 1]
        metadata = dict(document.metadata)
        if document.pages:
            metadata["page"] = bisect_right(document.pages, start)
            last = bisect_right(document.pages, end - 1)
            metadata |= {"last_page": last} if last > metadata["page"] else {}
        passages.append(
            Passage(
                id=f"{document.id}#{number}",
                text=document.text[start:end],
                metadata=metadata,
                document_id=document.id,
                start=start,
                end=end,
                # Only the titles that apply to the whole passage, which may have several sections.
                headings=_shared(touched),
                table_header=header,
            )
        )
    return passages


def _shared(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the titles that all paths start with."""
    levels = zip(*paths, strict=False)
    return tuple(titles[0] for titles in takewhile(lambda titles: len(set(titles)) == 1, levels))


def _paths(headings: Sequence[Heading]) -> Iterator[tuple[str, ...]]:
    """Yield for each heading the titles from the highest above it down to its own."""
    above: list[Heading] = []
    for heading in headings:
        while above and above[-1].level >= heading.level:
            above.pop()
        above.append(heading)
        yield tuple(title.title for title in above)
