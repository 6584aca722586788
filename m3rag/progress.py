"""Progress reports of long work: one callback shape for the whole package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """A callback for the progress of long work.

    Example:
        >>> def show(stage: str, done: int, total: int | None) -> None:
        ...     print(f"{stage}: {done} of {'?' if total is None else total}")
        >>> M3Model.load("tiny").encode(["one text"], progress=show).n_tokens
        encoding: 1 of 1
        array([4], dtype=int32)

    The functions that take one say which stages they report, in which unit, and from which
    thread. `done` never decreases within a stage.
    """

    def __call__(self, stage: str, done: int, total: int | None, /) -> object:
        """Receive a report.

        Args:
            stage: What is being done, such as "encoding".
            done: How much of it is done.
            total: How much there is; None if that is not known in advance.
        """
        ...


def counting(progress: Progress | None, stage: str, total: int | None) -> Callable[[int], None]:
    """Return a function that adds up increments and reports the sum as one stage.

    Args:
        progress: What receives the reports; None drops them.
        stage: The stage to report.
        total: How much there is; None if that is not known in advance.
    """
    done = 0

    def add(n: int) -> None:
        nonlocal done
        done += n
        if progress is not None:
            progress(stage, done, total)

    return add


def silent(stage: str, done: int, total: int | None, /) -> None:
    """Ignore a report."""
