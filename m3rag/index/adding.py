"""A stream of passages into a store: encoded in batches, the next while the last is written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from m3rag.documents import Passage
from m3rag.errors import InputError
from m3rag.index.plan import Points
from m3rag.index.views import check_passage

Progress = Callable[[int], object]


def add_passages(
    passages: Iterable[Passage | str],
    *,
    encode: Callable[[list[Passage]], Points],
    write: Callable[[Points], None],
    batch: int,
    progress: Progress | None,
) -> list[str]:
    """Encode and write all passages; the ids, one for each of them."""
    if isinstance(passages, str | Passage):
        raise InputError("passages is a single one; pass a list: index.add([passage]).")
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise InputError(f"batch must be a whole number of at least 1, got {batch!r}.")
    ids: list[str] = []
    todo = (as_passage(p) for p in passages)
    written: Future[None] | None = None
    with ThreadPoolExecutor(1, "m3rag-add") as writer:
        before = 0
        while some := list(islice(todo, batch)):
            points = encode(list({p.id: p for p in some}.values()))  # the last of an id wins
            _settle(written, before, progress)
            written, before = writer.submit(write, points), len(some)
            ids += [p.id for p in some]
        _settle(written, before, progress)
    return ids


def as_passage(passage: object) -> Passage:
    """The passage itself; of a string, one whose id follows from its text.

    Raises:
        InputError: something else, or what cannot be stored.
    """
    if isinstance(passage, str):
        digest = hashlib.blake2b(passage.encode(errors="surrogatepass"), digest_size=16)
        passage = Passage(id=digest.hexdigest(), text=passage)
    if not isinstance(passage, Passage):
        raise InputError(f"A passage is a Passage or a string, got {type(passage).__name__}.")
    check_passage(passage)
    return passage


def _settle(written: Future[None] | None, n: int, progress: Progress | None) -> None:
    """Wait for what is being written, then report it."""
    if written is not None:
        written.result()
        if progress is not None:
            progress(n)
