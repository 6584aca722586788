"""The figures of a trial, and where it keeps what it found."""

from __future__ import annotations

import collections
import json
import shutil
import sys
from pathlib import Path
from typing import Any

BAD = ("lost", "wrong", "hung", "raw")
_KEPT = 5  # folders with problems


class Tally:
    """Counts tries and problems, prints each problem, and keeps the first bad folders.

    Args:
        out: The folder for bad folders.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._kept = 0
        self.tried = 0
        self.bad: collections.Counter[str] = collections.Counter()
        self.notes: collections.Counter[str] = collections.Counter()

    def add(self, name: str, problems: list[str], folder: Path | None = None) -> None:
        """Note one try.

        Args:
            name: What was done, so that it can be done again.
            problems: Each begins with "lost", "wrong", "hung" or "raw".
            folder: The folder after it, which is kept if there are problems.
        """
        self.tried += 1
        for kind in BAD:
            self.bad[kind] += sum(problem.startswith(f"{kind}:") for problem in problems)
        if not problems:
            return
        _show(f"BAD {name}: {len(problems)} problems", *problems[:4])
        if folder is not None and folder.exists() and self._kept < _KEPT:
            self._kept += 1
            kept = self._out / f"bad-{self.tried}"
            shutil.copytree(folder, kept, symlinks=True, ignore=_special)
            _show(f"    kept in {kept}")

    def note(self, name: str, n: int = 1) -> None:
        """Count something for people."""
        self.notes[name] += n

    def figures(self) -> dict[str, Any]:
        """Return the figures as the arguments of `record`."""
        note = ", ".join(f"{n} {name}" for name, n in sorted(self.notes.items()))
        return {"tried": self.tried, **{kind: self.bad[kind] for kind in BAD}, "note": note}

    def end(self) -> None:
        """Print the figures as the last line."""
        _show(json.dumps(self.figures()))


def _show(*lines: str) -> None:
    sys.stdout.write("\n    ".join(lines) + "\n")
    sys.stdout.flush()


def _special(folder: str, names: list[str]) -> list[str]:
    return [
        n for n in names if not (Path(folder) / n).is_file() and not (Path(folder) / n).is_dir()
    ]
