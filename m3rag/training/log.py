"""The logs of a run: a CSV line for each step, and one for each evaluation."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

STEPS, SCORES = "log.csv", "scores.csv"


class Log:
    """The files `log.csv` and `scores.csv` in the folder of a run."""

    def __init__(self, folder: Path, *, step: int) -> None:
        """Continue after `step`; lines that a killed run wrote after its last save are removed."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        for name in (STEPS, SCORES):
            _remove_after(folder / name, step)

    def step(self, row: Mapping[str, float | str]) -> None:
        """Append a step; "step" is a column."""
        _append(self._folder / STEPS, row)

    def scores(self, row: Mapping[str, float | str]) -> None:
        """Append an evaluation; "step" is a column."""
        _append(self._folder / SCORES, row)


def _append(path: Path, row: Mapping[str, float | str]) -> None:
    """Append a row; the columns are those of the first one."""
    with path.open("a+", newline="", encoding="utf-8") as file:
        file.seek(0)
        columns = next(csv.reader(file), None)
        writer = csv.DictWriter(file, columns or list(row), restval="", extrasaction="ignore")
        if columns is None:
            writer.writeheader()
        writer.writerow(row)


def _remove_after(path: Path, step: int) -> None:
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    path.unlink()
    for row in rows:
        # A line that a kill cut short belongs to a step after the last save.
        if (row["step"] or "").isdigit() and int(row["step"]) <= step and None not in row.values():
            _append(path, row)
