"""Encode passages and write them to a store, one batch while the previous one is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from functools import partial
from itertools import islice

import numpy as np

from m3rag.documents import Passage, as_passage
from m3rag.documents.document import source_of
from m3rag.encoder import TEXT_NAMES, Model
from m3rag.errors import InputError
from m3rag.limits import DEFAULT_LIMITS, Limits, check_count, shown
from m3rag.progress import Progress, counting
from m3rag.scoring import BM25, Analyzer
from m3rag.stores.base import Points
from m3rag.threads import Task

STAGE = "adding passages"


def add_passages(
    passages: Iterable[Passage | str],
    *,
    encode: Callable[[list[Passage]], Points],
    write: Callable[[Points], None],
    batch: int,
    progress: Progress | None,
    limits: Limits = DEFAULT_LIMITS,
) -> list[str]:
    """Encode and write all passages, and return the id of each.

    A sequence is checked before anything is written, any other iterable batch by batch.

    Raises:
        InputError: `passages` is a single passage, an item cannot be stored, or `batch` is not a
            positive integer.
    """
    check_count("batch", batch)
    remaining = checked(passages, limits)
    return write_passages(
        remaining, encode=encode, write=write, batch=batch, report=reporting(progress, passages)
    )


def reporting(progress: Progress | None, passages: Iterable[object]) -> Callable[[int], None]:
    """Return a function that adds up how many of the passages are durable, and reports the sum."""
    total = len(passages) if isinstance(passages, Sized) else None
    return counting(progress, STAGE, total)


def checked(passages: Iterable[Passage | str], limits: Limits) -> Iterator[Passage]:
    """Return checked copies of passages: of a sequence all at once, else each when it is needed.

    Raises:
        InputError: `passages` is a single passage, or an item cannot be stored; the message has its
            position.
    """
    if isinstance(passages, str | Passage):
        raise InputError("`passages` is a single passage. Pass a list: index.add([passage]).")
    if isinstance(passages, Mapping) or not isinstance(passages, Iterable):
        raise InputError(f"`passages` must be a list of passages, got {shown(passages)}.")
    found = _checked(passages, limits)
    return iter(list(found)) if isinstance(passages, Sequence) else found


def _checked(passages: Iterable[Passage | str], limits: Limits) -> Iterator[Passage]:
    for i, passage in enumerate(passages):
        try:
            yield as_passage(passage, limits)
        except InputError as error:
            raise InputError(f"passages[{i}]: {error}") from None


def write_passages(
    remaining: Iterator[Passage],
    *,
    encode: Callable[[list[Passage]], Points],
    write: Callable[[Points], None],
    batch: int,
    report: Callable[[int], None],
) -> list[str]:
    """Encode and write checked passages, and return the id of each.

    If it is interrupted, the batch that is being written is still written completely. A call that
    goes on while Python shuts down takes no harm: it then writes in its own thread.
    """
    ids: list[str] = []
    writing: Task[None] | None = None
    size = 0
    try:
        while chunk := list(islice(remaining, batch)):
            points = encode(list({p.id: p for p in chunk}.values()))  # the last one with an id wins
            _finish(writing, size, report)
            writing, size = Task(partial(write, points), "m3rag-add"), len(chunk)
            writing.start_or_run()
            ids += [p.id for p in chunk]
        _finish(writing, size, report)
    finally:
        if writing is not None:
            writing.end()
    return ids


def points_of(
    passages: Sequence[Passage],
    model: Model,
    *,
    colbert: bool,
    together: bool,
    bm25: BM25,
    analyze: Analyzer,
) -> Points:
    """Encode passages with distinct ids in one call.

    Args:
        passages: What to encode.
        model: Encodes the passages.
        colbert: Whether to keep the ColBERT vectors.
        together: Whether consecutive passages of one document share a forward pass.
        bm25: The settings of BM25.
        analyze: Tokenizes for BM25.

    Raises:
        InputError: The model returned NaN or infinity, or the analyzer something else than one
            list of token ids for each text.
    """
    texts = [passage.full_text for passage in passages]
    tokens = analyze(texts)
    if len(tokens) != len(texts):
        raise InputError(
            f"The analyzer returned {len(tokens):,} lists of token ids for {len(texts):,} texts. "
            "It must return one list for each text."
        )
    documents = [passage.document_id for passage in passages]
    named = TEXT_NAMES.set([_name(passage) for passage in passages])
    try:
        encoding = model.encode(texts, colbert=colbert, documents=documents if together else None)
    finally:
        TEXT_NAMES.reset(named)
    broken = ~np.isfinite(encoding.dense).all(axis=1)
    if broken.any():
        passage = passages[int(broken.argmax())]
        raise InputError(
            f"The model {model.name!r} returned NaN or infinite vectors, first for passage "
            f"{shown(passage.id)}. Its weights are damaged, or too large for its dtype."
        )
    return Points(
        passages,
        encoding.dense,
        encoding.sparse,
        bm25.passages(tokens),
        encoding.colbert if colbert else None,
    )


def _name(passage: Passage) -> str:
    """Return what a warning calls a passage."""
    source = source_of(passage)
    return f"passage {shown(passage.id)}" + (f" (from {shown(source)})" if source else "")


def _finish(writing: Task[None] | None, size: int, report: Callable[[int], None]) -> None:
    """Wait until the batch is written, then report it."""
    if writing is not None:
        writing.future.result()
        report(size)
