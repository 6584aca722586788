"""The next batch of a run, prepared in a thread while the current one is trained on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Prefetch(Generic[Item]):
    """A context that calls a function one number ahead, in a thread of its own."""

    def __init__(self, prepare: Callable[[int], Item]) -> None:
        self._prepare = prepare
        self._pool = ThreadPoolExecutor(1, "m3rag-prefetch")
        self._ahead: dict[int, Future[Item]] = {}

    def take(self, number: int, *, last: bool) -> Item:
        """Return the item of a number, and prepare that of the next one unless this is the last.

        Raises:
            Exception: Whatever the function raised for this number.
        """
        ready = self._ahead.pop(number, None) or self._pool.submit(self._prepare, number)
        if not last:
            self._ahead[number + 1] = self._pool.submit(self._prepare, number + 1)
        return ready.result()

    def __enter__(self) -> Prefetch[Item]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
