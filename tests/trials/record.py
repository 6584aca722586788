"""The figures of the trials: `make trials` prints them as a table at its end."""

from __future__ import annotations

import json
import os
from pathlib import Path

SEED = int(os.environ.get("M3RAG_TRIAL_SEED", "20261127"))
"""The seed of the long trials; set M3RAG_TRIAL_SEED to try others."""

RECORD = "M3RAG_TRIAL_RECORD"
"""The environment variable that names the file for the figures."""

COLUMNS = ("tried", "lost", "wrong", "hung", "raw")


def record(
    name: str,
    *,
    tried: int,
    lost: int = 0,
    wrong: int = 0,
    hung: int = 0,
    raw: int = 0,
    note: str = "",
) -> None:
    """Append the figures of one trial to the record, and fail if any of them is bad.

    Args:
        name: The name of the trial, for people.
        tried: How often it was tried.
        lost: Acknowledged passages that were lost.
        wrong: Wrong results that no error announced.
        hung: Runs that did not end in time.
        raw: Errors that are not m3rag's own.
        note: More figures, for people.
    """
    figures = {"tried": tried, "lost": lost, "wrong": wrong, "hung": hung, "raw": raw}
    if path := os.environ.get(RECORD):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"name": name, **figures, "note": note}) + "\n")
    assert tried > 0
    assert (lost, wrong, hung, raw) == (0, 0, 0, 0), f"{name}: {figures} {note}"
