"""From passages to points in a store; encodes a batch while the last one is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np

from m3rag.documents import Passage, as_passage
from m3rag.encoder import Model
from m3rag.errors import InputError
from m3rag.progress import Progress, counting
from m3rag.scoring import BM25, Analyzer
from m3rag.stores.base import Points

STAGE = "adding passages"


def add_passages(
    passages: Iterable[Passage | str],
    *,
    encode: Callable[[list[Passage]], Points],
    write: Callable[[Points], None],
    batch: int,
    progress: Progress | None,
) -> list[str]:
    """Encode and write all passages; returns an id for each.

    Raises:
        InputError: `passages` is a single passage, or `batch` is not a positive integer.
    """
    if isinstance(passages, str | Passage):
        raise InputError("passages is a single one; pass a list: index.add([passage]).")
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise InputError(f"batch must be a whole number of at least 1, got {batch!r}.")
    total = len(passages) if isinstance(passages, Sized) else None
    report = counting(progress, STAGE, total)
    ids: list[str] = []
    remaining = (as_passage(p) for p in passages)
    writing: Future[None] | None = None
    with ThreadPoolExecutor(1, "m3rag-add") as writer:
        size = 0
        while some := list(islice(remaining, batch)):
            points = encode(list({p.id: p for p in some}.values()))  # the last of an id wins
            _settle(writing, size, report)
            writing, size = writer.submit(write, points), len(some)
            ids += [p.id for p in some]
        _settle(writing, size, report)
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
        model: Encodes them.
        colbert: Whether to keep the ColBERT vectors.
        together: Whether neighbours in one document share a pass.
        bm25: The settings of BM25.
        analyze: Tokenizes for BM25.

    Raises:
        InputError: The model returned NaN or infinity.
    """
    texts = [passage.text for passage in passages]
    documents = [passage.document_id for passage in passages]
    encoding = model.encode(texts, colbert=colbert, documents=documents if together else None)
    broken = ~np.isfinite(encoding.dense).all(axis=1)
    if broken.any():
        passage = passages[int(broken.argmax())]
        raise InputError(
            f"The model {model.name!r} gives NaN or infinite vectors, first for passage "
            f"{passage.id!r}: its weights are damaged, or too large for its dtype."
        )
    return Points(
        passages,
        encoding.dense,
        encoding.sparse,
        bm25.passages(analyze(texts)),
        encoding.colbert if colbert else None,
    )


def _settle(writing: Future[None] | None, size: int, report: Callable[[int], None]) -> None:
    """Wait for the batch that is being written, then report it."""
    if writing is not None:
        writing.result()
        report(size)
