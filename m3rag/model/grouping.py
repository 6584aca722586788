"""From texts to units: what is encoded together, checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from m3rag.errors import InputError
from m3rag.model.memo import Unit
from m3rag.model.tokenizer import Tokenizer


def units_of(
    texts: Sequence[str],
    limit: int,
    mcls: int | None,
    documents: Sequence[str | None] | None,
    tokenizer: Tokenizer,
) -> list[Unit]:
    """Return what is encoded together: each text alone, or neighbours in one document.

    Args:
        texts: What to encode.
        limit: The most tokens of a text, or of a unit.
        mcls: Insert `<s>` before every so many tokens of a text; None for one at its start.
        documents: The document that each text is a part of; None to encode each text alone.
        tokenizer: Counts the tokens of texts that share a pass.

    Raises:
        InputError: `texts` is not a sequence of strings, `mcls` is not a positive integer, or
            `documents` has another length than `texts`.
    """
    if isinstance(texts, str):
        raise InputError("texts is one string; pass a list: model.encode([text]).")
    texts = list(texts)
    for i, text in enumerate(texts):
        check_text(i, text)
    if mcls is not None and (isinstance(mcls, bool) or not isinstance(mcls, int) or mcls < 1):
        raise InputError(f"mcls is a number of tokens from 1, such as 256, got {mcls!r}.")
    if documents is None:
        return [Unit((text,), limit, mcls) for text in texts]
    if isinstance(documents, str) or len(documents) != len(texts):
        raise InputError(
            f"documents names one document, or None, for each of the {len(texts)} texts, got "
            f"{documents!r}."
        )
    lengths = [len(cut.ids) for cut in tokenizer.cut(texts, limit, mcls)]
    return [Unit(tuple(texts[a:b]), limit, mcls) for a, b in passes(lengths, documents, limit)]


def check_text(i: int, text: object) -> None:
    """Refuse what is no text.

    Raises:
        InputError: it names the position.
    """
    if not isinstance(text, str):
        raise InputError(f"texts[{i}] is {type(text).__name__}, not str.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"texts[{i}] has a lone surrogate at character {error.start}: it is not Unicode text. "
            'Read it again with the right encoding, or text.encode(errors="replace").decode().'
        ) from None


def passes(
    lengths: Sequence[int], documents: Sequence[str | None], limit: int
) -> Iterator[tuple[int, int]]:
    """The passes over n texts, each as `(first, one past the last)`.

    A document that is too long for one pass is cut between texts into passes of about the same
    length, so that no text is left with little to see.

    Args:
        lengths: the tokens of each text, none above `limit`.
        documents: for each text its document; None is read alone.
        limit: the most tokens of a pass.
    """
    start = 0
    for name, same in groupby(documents):
        end = start + sum(1 for _ in same)
        if name is None:
            yield from ((i, i + 1) for i in range(start, end))
        else:
            yield from _even(lengths, start, end, limit)
        start = end


def _even(lengths: Sequence[int], start: int, end: int, limit: int) -> Iterator[tuple[int, int]]:
    total = sum(lengths[start:end])
    fair = total / -(-total // limit)
    size = 0
    for i in range(start, end):
        if size and (size >= fair or size + lengths[i] > limit):
            yield start, i
            start, size = i, 0
        size += lengths[i]
    yield start, end
