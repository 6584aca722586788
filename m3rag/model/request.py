"""A request to the thread that owns a network, with the results that it has so far."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar, Generic, TypeVar

from m3rag.model.tokenizer import Tokens
from m3rag.progress import Progress

U = TypeVar("U")
T = TypeVar("T")


def awaited(future: Future[T]) -> T:
    """Return the result of a future; whatever interrupts the wait cancels the request."""
    try:
        return future.result()
    except BaseException:  # such as Ctrl-C; the worker drops cancelled requests
        future.cancel()
        raise


@dataclass(eq=False, slots=True)
class Request(Generic[U, T]):
    """A request to compute something for each of its units.

    Attributes:
        units: What to compute: texts that are encoded together, or a pair. A row is a position in
            this list.
        progress: Called with (stage, texts done, total) after each unit.
        future: The result.
        tokenized: The tokens of the units that are tokenised, but not computed yet, by row.
        next_row: The first row that is neither tokenised nor known already.
        failure: The error that ended the request.
        done: The number of texts or pairs that are computed.
        total: The number of all.
    """

    stage: ClassVar[str]
    """What the progress is called with."""

    units: list[U]
    _: KW_ONLY
    progress: Progress | None = None
    future: Future[T] = field(default_factory=Future)
    tokenized: dict[int, list[Tokens]] = field(default_factory=dict)
    next_row: int = 0
    failure: BaseException | None = None
    done: int = 0
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.total = len(self.units)

    @property
    def finished(self) -> bool:
        """Whether the request is complete, failed or cancelled."""
        return self.done == self.total or self.failure is not None or self.future.cancelled()

    def result(self) -> T:
        """Return the result of a complete request."""
        raise NotImplementedError

    def count(self, number: int) -> None:
        """Add to the number of texts that are done, and tell the caller."""
        self.done += number
        if self.progress is not None and self.failure is None:
            try:
                self.progress(self.stage, self.done, self.total)
            except BaseException as error:  # raised by the caller's code, so returned to it
                self.failure = error

    def finish(self) -> None:
        """Set the future's result or exception, unless it was cancelled."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            if self.failure is not None:
                raise self.failure
            self.future.set_result(self.result())
        except BaseException as error:
            self.future.set_exception(error)
