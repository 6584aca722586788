"""Progress reports: one callback protocol for the whole package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """A callback for progress reports, called with (stage, done, total).

    Example:
        >>> def show(stage: str, done: int, total: int | None) -> None:
        ...     print(f"{stage}: {done} of {'?' if total is None else total}")
        >>> M3Model.load("tiny").encode(["one text"], progress=show).n_tokens
        encoding: 1 of 1
        array([4], dtype=int32)

    Functions that take a callback document the stages they report, the unit, and the thread that
    calls it. `done` never decreases within a stage.
    """

    def __call__(self, stage: str, done: int, total: int | None, /) -> object:
        """Receive a report.

        Args:
            stage: The kind of work, such as "encoding".
            done: The amount done so far.
            total: The amount to do; None if it is not known in advance.
        """
        ...


def counting(progress: Progress | None, stage: str, total: int | None) -> Callable[[int], None]:
    """Return a function that adds up increments and reports the sum as one stage.

    Args:
        progress: The callback that receives the reports; None drops them.
        stage: The stage to report.
        total: The amount to do; None if it is not known in advance.
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
