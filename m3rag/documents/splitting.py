"""Splitting documents into passages along their structure, within the model's limit."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from m3rag.documents.boundaries import LOWEST_LEVEL, Atoms, Rank, atoms, seam
from m3rag.documents.document import Document, Heading, Passage
from m3rag.documents.sentences import sentences
from m3rag.errors import InputError

SPECIAL_TOKENS = 2  # <s> and </s>
SMALLEST_LIMIT = 16
# On one giant string, tokenizers are slow or use much memory, and so does a list of all tokens.
_BLOCK = 4096  # characters in one text for the tokenizer
_BATCH = 1 << 18  # characters in one call
_FULL = 3.0  # filling a passage to the target is worth as much as a cut three ranks better

Span = tuple[int, int]


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
) -> list[Passage]:
    """Split a document into passages of at most `max_tokens` tokens.

    A passage ends at the strongest boundary near the limit: heading, paragraph, line, sentence,
    clause, word or, in text without any of these, a place that splits no visible character. Code
    blocks, tables and lists stay whole where they fit. A passage continues into subsections, but
    into a section of the same or a higher level only while the passage or the rest of the document
    is tiny (under an eighth of the limit).

    Args:
        document: The document to split.
        tokenizer: The model's tokenizer, or any object that reports the spans of its tokens.
        max_tokens: The largest size of a passage in tokens, including `<s>` and `</s>`; at least
            16. `model.passage_tokens` is the size that suits a model.
        overlap: How many tokens from the end of a passage the next passage of the same section may
            repeat, in whole sentences; less than half of `max_tokens`. An eighth of it by default.

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
    limit = max_tokens - SPECIAL_TOKENS
    pieces = atoms(document, _token_ends(document.text, tokenizer), limit)
    filled = _Filling(pieces, document.headings, limit=limit, overlap=overlap).spans()
    stripped = (_strip(document.text, start, end) for start, end in filled)
    return _passages(document, _within(document.text, stripped, tokenizer, limit))


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


class _Filling:
    """The assembly of passages from pieces, each up to the limit.

    Attributes:
        limit: The number of tokens in a passage, without the special ones.
        tiny: The number of tokens below which a section is not a passage of its own.
        overlap: The number of tokens that may be repeated.
    """

    def __init__(
        self, pieces: Atoms, headings: Sequence[Heading], *, limit: int, overlap: int
    ) -> None:
        self.starts, self.ranks, self.tokens = pieces
        self.limit, self.overlap, self.tiny = limit, overlap, limit // 8
        at = {bisect_left(self.starts, heading.start): heading.level for heading in headings}
        self._headings = sorted(index for index in at if index < len(self.ranks))
        self._levels = [at[index] for index in self._headings]

    def spans(self) -> Iterator[Span]:
        """Yield the character span of each passage."""
        first = new = 0
        while new < len(self.ranks):
            cut = self._cut(first, new)
            yield self.starts[first], self.starts[cut]
            first, new = self._repeat(first, cut), cut

    def _count(self, first: int, last: int) -> int:
        return self.tokens[last] - self.tokens[first]

    def _stop(self, first: int, new: int) -> int:
        """Return the heading that the passage must not cross, or the end of the document."""
        at = bisect_right(self._headings, new)
        level = self._levels[at - 1] if at else LOWEST_LEVEL
        for i in range(at, len(self._headings)):
            stop = self._headings[i]
            if self._count(first, stop) > 2 * self.limit:
                return stop  # beyond any possible cut, so its exact place does not matter
            if self._levels[i] <= level:
                level = self._levels[i]
                rest = self._count(stop, len(self.ranks))
                if min(self._count(new, stop), rest) >= max(self.tiny, 1):
                    return stop
        return len(self.ranks)

    def _cut(self, first: int, new: int) -> int:
        """Return the end of the passage that starts with piece `first`.

        `new` is the first piece that the passage does not repeat from the one before.
        """
        stop = self._stop(first, new)
        size = self._count(first, stop)
        if size <= self.limit:
            return stop
        last_but_one = size + self.overlap <= 2 * self.limit
        target = (size + self.overlap) / 2 if last_but_one else self.limit
        best, best_score = new + 1, float("-inf")
        for cut in range(new + 1, stop):
            filled = self._count(first, cut)
            if filled > self.limit:
                break
            score = self.ranks[cut] + _FULL * (1 - abs(filled - target) / self.limit)
            if min(self._count(new, cut), self._count(cut, stop)) < self.tiny:
                score -= Rank.HEADING * 4  # avoid a passage of a few words wherever possible
            if score >= best_score:
                best, best_score = cut, score
        return best

    def _repeat(self, first: int, cut: int) -> int:
        """Return the first piece of the next passage: `cut`, or an earlier one to repeat."""
        if cut == len(self.ranks) or self.ranks[cut] >= Rank.HEADING:
            return cut
        whole = min(self.ranks[cut], Rank.SENTENCE)
        start = cut
        for index in range(cut - 1, first, -1):
            if self._count(index, cut) > self.overlap or self.ranks[index] >= Rank.HEADING:
                break
            if self.ranks[index] >= whole:
                start = index
        return start


def _within(text: str, spans: Iterable[Span], tokenizer: SpanTokenizer, limit: int) -> list[Span]:
    """Count the tokens of every passage on its own, and halve the few that are too long.

    Tokenization depends on the surrounding text, so only this count is exact.
    """
    kept: dict[int, int] = {}
    waiting = list(spans)
    while waiting:
        counted = _tokenize([text[start:end] for start, end in waiting], tokenizer)
        too_long: list[Span] = []
        for (start, end), tokens in zip(waiting, counted, strict=True):
            if len(tokens) <= limit:
                kept[start] = max(end, kept.get(start, end))
            elif end - start == 1:
                raise InputError(
                    f"The character {text[start]!r} alone is {len(tokens)} tokens long. Use "
                    f"max_tokens={len(tokens) + SPECIAL_TOKENS} or more."
                )
            else:
                too_long += _halves(text, start, end)
        waiting = too_long
    return sorted(kept.items())


def _halves(text: str, start: int, end: int) -> list[Span]:
    """Cut a passage in two, between the sentences nearest to its middle if it has several."""
    middle = (start + end) // 2
    starts = [start + first for first, _ in sentences(text[start:end])][1:]
    cut = min(starts, key=lambda at: abs(at - middle)) if starts else seam(text, start, middle)
    return [_strip(text, start, cut), _strip(text, cut, end)]


def _strip(text: str, start: int, end: int) -> Span:
    piece = text[start:end]
    return end - len(piece.lstrip()), start + len(piece.rstrip())


def _passages(document: Document, spans: Sequence[Span]) -> list[Passage]:
    headings = sorted(document.headings, key=lambda heading: heading.start)
    starts = [heading.start for heading in headings]
    paths = [(), *_paths(headings)]
    passages = []
    for number, (start, end) in enumerate(spans):
        touched = paths[bisect_right(starts, start) : bisect_left(starts, end) + 1]
        metadata = dict(document.metadata)
        if document.pages:
            metadata["page"] = bisect_right(document.pages, start)
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
