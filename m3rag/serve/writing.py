"""Runs what a language model writes in a thread, and passes its pieces on to the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, Generic, TypeVar

from m3rag.serve.errors import ServeError

T = TypeVar("T")

_WRITERS = threading.BoundedSemaphore(64)  # answers that are written at the same time
_RETRY_AFTER = "5"


async def pieces(make: Callable[[], Iterator[T]]) -> AsyncGenerator[T, None]:
    """Yield what an iterator yields that blocks for long; each has a thread of its own.

    The thread ends with the next piece if nobody takes them any more.

    Raises:
        ServeError: Too many answers are being written.
    """
    if not _WRITERS.acquire(blocking=False):
        raise ServeError(
            429,
            f"Too many answers are being written. Try again in {_RETRY_AFTER} seconds.",
            code="overloaded",
            headers={"Retry-After": _RETRY_AFTER},
        )
    writer = _Writer(make, asyncio.get_running_loop())
    threading.Thread(target=writer.run, name="m3rag-writer", daemon=True).start()
    try:
        while (piece := await writer.queue.get()) is not _END:
            if isinstance(piece, _Failure):
                raise piece.error
            yield piece
    finally:
        writer.stopped.set()


class _Failure:
    """What an iterator raised."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


class _Writer(Generic[T]):
    """An iterator in a thread."""

    def __init__(self, make: Callable[[], Iterator[T]], loop: asyncio.AbstractEventLoop) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()  # of T, a _Failure, or _END
        self.stopped = threading.Event()
        self._make = make
        self._loop = loop

    def run(self) -> None:
        """Pass the pieces on until nobody takes them any more."""
        try:
            for piece in self._make():
                if self.stopped.is_set():
                    return
                self._put(piece)
            self._put(_END)
        except BaseException as error:
            self._put(_Failure(error))
        finally:
            _WRITERS.release()

    def _put(self, piece: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server has stopped
            self._loop.call_soon_threadsafe(self.queue.put_nowait, piece)
