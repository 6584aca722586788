"""Run the long trials and print their figures as a table; the exit status says whether all passed.

python scripts/trials.py                     all trials, with the usual seed
python scripts/trials.py --seed 7            with other chances
python scripts/trials.py --only kills        the trials with "kills" in their name
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
COLUMNS = ("tried", "lost", "wrong", "hung", "raw")


def table(rows: list[dict[str, Any]]) -> str:
    """Return the figures as a Markdown table, with their sums in the last row."""
    sums = {column: sum(row[column] for row in rows) for column in COLUMNS}
    lines = [["trial", *COLUMNS, "note"]]
    for row in [*rows, {"name": f"{len(rows)} trials", **sums, "note": ""}]:
        lines.append([row["name"], *(f"{row[column]:,}" for column in COLUMNS), row["note"]])
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS) + 1)]
    lines.insert(1, ["-" * width for width in widths] + ["----"])
    shown = []
    for line in lines:
        first, *numbers = line[:-1]
        cells = [first.ljust(widths[0])]
        cells += [n.rjust(width) for n, width in zip(numbers, widths[1:], strict=True)]
        shown.append(f"| {' | '.join([*cells, line[-1]])} |")
    return "\n".join(shown)


def main() -> int:
    """Run pytest on the trials, print the table, and return pytest's exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, help="the seed; the same one by default")
    parser.add_argument("--only", metavar="NAME", help="only trials with this in their name")
    options = parser.parse_args()
    command = [sys.executable, "-m", "pytest", "-m", "trial", "tests/trials"]
    if options.only:
        command += ["-k", options.only]
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record"
        record.touch()
        environment = {**os.environ, "M3RAG_TRIAL_RECORD": str(record)}
        if options.seed is not None:
            environment["M3RAG_TRIAL_SEED"] = str(options.seed)
        status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        rows = [json.loads(line) for line in record.read_text("utf-8").splitlines()]
    print(table(rows))  # noqa: T201  # the result of the script
    return status


if __name__ == "__main__":
    sys.exit(main())
