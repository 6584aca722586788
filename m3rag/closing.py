"""What is closed at the end of a `with` block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, Self


class Closing:
    """A mixin for classes with a `close`, which the end of a `with` block calls."""

    def close(self) -> None:
        """Free what the object holds; a second call does nothing."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Closes(Protocol):
    def close(self) -> None: ...


@contextmanager
def closed_on_errors(held: _Closes | None) -> Iterator[None]:
    """Close an object if the block fails; None is left alone."""
    try:
        yield
    except BaseException:
        if held is not None:
            held.close()
        raise
