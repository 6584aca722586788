"""Check texts and group them into units, which are encoded together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import groupby

from m3rag.errors import InputError
from m3rag.model.memo import Unit
from m3rag.model.modelfiles import shortened
from m3rag.model.tokenizer import Tokenizer


def units_of(
    texts: Sequence[str],
    limit: int,
    mcls: int | None,
    documents: Sequence[str | None] | None,
    tokenizer: Tokenizer,
) -> list[Unit]:
    """Return the units to encode: each text alone, or neighbours in the same document.

    Args:
        texts: The texts to encode.
        limit: The most tokens of a text, and of a unit.
        mcls: Insert an `<s>` before every `mcls` tokens of a text; None for one at its start.
        documents: The document of each text, or None for a text that is encoded alone; None to
            encode all texts alone.
        tokenizer: Counts the tokens of texts that are encoded together.

    Raises:
        InputError: `texts` is not a sequence of strings, `mcls` is not a positive integer, or
            `documents` and `texts` differ in length.
    """
    if isinstance(texts, str):
        raise InputError("`texts` must be a list, got one string. Call model.encode([text]).")
    if not isinstance(texts, Iterable):
        raise InputError(f"`texts` must be a list of strings, got {type(texts).__name__}.")
    texts = list(texts)
    for i, text in enumerate(texts):
        check_text(f"texts[{i}]", text)
    check_mcls(mcls)
    if documents is None:
        return [Unit((text,), limit, mcls) for text in texts]
    several = isinstance(documents, Sized) and not isinstance(documents, str)
    if not several or len(documents) != len(texts):
        raise InputError(
            f"`documents` must have one document, or None, for each of the {len(texts):,} texts, "
            f"got {shortened(documents)}."
        )
    lengths = [len(cut.ids) for cut in tokenizer.cut(texts, limit, mcls)]
    spans = passes(lengths, documents, limit)
    return [Unit(tuple(texts[start:end]), limit, mcls) for start, end in spans]


def check_mcls(mcls: int | None) -> None:
    """Check a number of tokens between two `<s>`.

    Raises:
        InputError: It is not an integer of at least 1.
    """
    if mcls is not None and (isinstance(mcls, bool) or not isinstance(mcls, int) or mcls < 1):
        found = shortened(mcls)
        raise InputError(f"`mcls` must be an integer of at least 1, such as 256, got {found}.")


def check_text(what: str, text: object) -> None:
    """Check that an argument is a string that can be encoded.

    Args:
        what: What the text is, for the error, such as "texts[3]".
        text: The argument.

    Raises:
        InputError: It is not.
    """
    if not isinstance(text, str):
        raise InputError(f"{what} must be a str, got {type(text).__name__}.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{what} has a lone surrogate at character {error.start}: it is not Unicode text. "
            'Read it with the right encoding, or pass text.encode(errors="replace").decode().'
        ) from None


def passes(
    lengths: Sequence[int], documents: Sequence[str | None], limit: int
) -> Iterator[tuple[int, int]]:
    """Yield the texts that are encoded together as `(start, end)`.

    A document that is too long for one pass is split between texts into passes of similar length,
    so that every text has enough context.

    Args:
        lengths: The number of tokens of each text, none above `limit`.
        documents: The document of each text, or None for a text that is encoded alone.
        limit: The most tokens of a pass.
    """
    start = 0
    for name, group in groupby(documents):
        end = start + sum(1 for _ in group)
        if name is None:
            yield from ((i, i + 1) for i in range(start, end))
        else:
            yield from _even_passes(lengths, start, end, limit)
        start = end


def _even_passes(
    lengths: Sequence[int], start: int, end: int, limit: int
) -> Iterator[tuple[int, int]]:
    total = sum(lengths[start:end])
    target = total / -(-total // limit)  # tokens of a pass
    size = 0
    for i in range(start, end):
        if size and (size >= target or size + lengths[i] > limit):
            yield start, i
            start, size = i, 0
        size += lengths[i]
    yield start, end
