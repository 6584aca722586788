"""The health of an index: what a check and a repair report, and which locations have them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from m3rag.documents import Passage

Count = Callable[[int, int | None], None]
"""Called with how many passages are done, and of how many; None if that is unknown."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The result of a check.

    Attributes:
        expected: The number of passages that were acknowledged.
        found: The number of passages that are there and intact.
        problems: What is wrong, as sentences; empty if all is well.
        notes: What is not wrong but good to know.
    """

    expected: int
    found: int
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether there is no problem."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class RepairReport:
    """The result of a repair.

    Attributes:
        expected: The number of passages that were acknowledged.
        kept: The number of passages that were intact.
        lost: The ids of damaged passages, as far as they are known.
        again: Passages whose text is intact, but not their vectors: they must be added again.
        done: What was done, as sentences; empty if nothing was wrong.
    """

    expected: int = 0
    kept: int = 0
    lost: tuple[str, ...] = ()
    again: tuple[Passage, ...] = ()
    done: tuple[str, ...] = ()

    def with_done(self, more: Sequence[str]) -> RepairReport:
        """Return a copy with more sentences about what was done."""
        return replace(self, done=(*self.done, *more))


@runtime_checkable
class Maintained(Protocol):
    """A location whose index can be checked, repaired and copied."""

    def check(self, progress: Count) -> CheckReport:
        """Verify everything that is stored; the index may be open."""
        ...

    def repair(self, progress: Count) -> RepairReport:
        """Keep everything that is intact; the index must be closed."""
        ...

    def backup(self, target: Path, progress: Count) -> int:
        """Copy the index as it is at this moment, and return the number of its passages."""
        ...
