"""A folder of 2,000 mixed files is indexed, changed, interrupted, resumed and emptied.

python -m tests.trials.folder_trial [--sets 80] [--seed 1]

Runs `m3rag index` with "tiny", checks what it says and what a search finds, and prints a table.
"""

from __future__ import annotations

import argparse
import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from m3rag import M3Index, M3Model
from m3rag.encoder import Model
from tests.conftest import hear_ctrl_c
from tests.trials.mixed_folder import Expected, MixedFolder

Sync = Callable[[], Mapping[str, Any]]
"""Runs a sync and returns its changes as the command prints them with --json."""
_HITS = 300  # passages in which all documents of a set must be


def check_first(made: MixedFolder, changes: Mapping[str, Any]) -> None:
    """Check the report on a new index."""
    assert not any(changes[kind] for kind in ("replaced", "unchanged", "removed", "renamed"))
    stored, copies = set(changes["added"]), set(changes["duplicates"])
    assert stored | copies == set(made.words)
    assert not stored & copies
    assert set(changes["duplicates"].values()) <= stored
    assert len(copies) == len(made.copies)
    assert changes["failed"].keys() == made.broken
    assert changes["skipped"].keys() == made.skipped
    assert changes["excluded"].keys() == made.excluded
    assert changes["other"] == dict(made.other)


def check_unchanged(made: MixedFolder, changes: Mapping[str, Any]) -> None:
    """Check the report on an index that was complete."""
    assert {*changes["unchanged"], *changes["duplicates"]} == set(made.words)
    assert not any(changes[kind] for kind in ("added", "replaced", "removed", "renamed"))
    assert changes["passages"] == 0


def check_changed(expected: Expected, changes: Mapping[str, Any], index: M3Index) -> None:
    """Check the report on a folder that changed: only what is new was encoded."""
    for kind in ("added", "replaced", "removed"):
        assert set(changes[kind]) == getattr(expected, kind), kind
    assert changes["renamed"] == expected.renamed
    assert changes["passages"] == index.count({"source": sorted(expected.read)})


def check_search(made: MixedFolder, index: M3Index, words: int) -> int:
    """Search for the words of some sets; each document of a set must be found with its word.

    Returns:
        The number of documents that were found.
    """
    found = 0
    sets: dict[str, set[str]] = {}
    for name, word in made.words.items():
        sets.setdefault(word, set()).add(name)
    largest = sorted(sets, key=lambda word: (-len(sets[word]), word))
    for word in [*largest[:words], *largest[-words:]]:
        hits = index.search(word, k=_HITS, channels=["bm25", "sparse"])
        named = [hit.passage for hit in hits if word in hit.passage.text]
        sources = {str(passage.metadata["source"]) for passage in named}
        sources |= {copy for passage in named for copy in passage.metadata.get("copies", ())}
        assert sources == sets[word], sources ^ sets[word]
        assert word in hits[0].passage.text
        found += len(sources)
    return found


def ids(index: M3Index) -> dict[str, object]:
    """Return the passages of an index, by id."""
    return {p.id: (p.text, p.metadata.get("stamp")) for p in index.passages()}


class Trial:
    """The steps, each with a row of the table."""

    def __init__(self, made: MixedFolder, scratch: Path, model: Model) -> None:
        self._made, self._scratch, self._model = made, scratch, model
        self.rows: list[tuple[str, float, str]] = []

    def run(self) -> None:
        """Take all steps."""
        made, kb = self._made, self._scratch / "kb"
        start = time.perf_counter()
        changes = self._step("first index", kb)
        seconds = time.perf_counter() - start
        check_first(made, changes)
        with M3Index.open(kb, model=self._model) as index:
            found = check_search(made, index, 8)
            passages = ids(index)
        self._row("search for 16 sets", 0, f"{found} documents, each with its word")
        check_unchanged(made, self._step("again", kb))
        self._interrupted(passages, seconds)
        expected = made.change()
        changes = self._step("changed", kb)
        with M3Index.open(kb, model=self._model) as index:
            check_changed(expected, changes, index)
            check_search(made, index, 8)
        check_unchanged(made, self._step("again", kb))
        made.empty()
        changes = self._step("emptied", kb)
        assert set(changes["removed"]) == set(made.words)
        with M3Index.open(kb, model=self._model) as index:
            assert index.count() == 0

    def _interrupted(self, passages: Mapping[str, object], seconds: float) -> None:
        """Stop a run with Ctrl-C and the next with SIGKILL; the third must finish the work."""
        kb = self._scratch / "interrupted"
        for number, share in ((signal.SIGINT, 0.3), (signal.SIGKILL, 0.6)):
            start = time.perf_counter()
            command = self._command(kb)
            with subprocess.Popen(command, stdout=-3, stderr=-3, preexec_fn=hear_ctrl_c) as child:
                while _stored(kb) < share * len(passages):
                    assert child.poll() is None, "it ended before its time"
                    assert time.perf_counter() - start < 10 * seconds + 60
                    time.sleep(0.02)
                child.send_signal(number)
                status = child.wait(60)
            assert status == (130 if number == signal.SIGINT else -number)
            stored, taken = _stored(kb), time.perf_counter() - start
            self._row(number.name, taken, f"{stored:,} of {len(passages):,} passages")
        changes = self._step("resumed", kb)
        assert len(changes["unchanged"]) > len(self._made.words) / 4
        with M3Index.open(kb, model=self._model) as index:
            assert ids(index) == passages

    def _step(self, name: str, kb: Path) -> Mapping[str, Any]:
        start = time.perf_counter()
        done = subprocess.run(
            self._command(kb), capture_output=True, text=True, check=False, timeout=1800
        )
        assert done.returncode in (0, 1), done.stderr
        changes: dict[str, Any] = json.loads(done.stdout)
        kinds = ("added", "replaced", "renamed", "unchanged", "duplicates", "removed", "failed")
        counts = ", ".join(f"{len(changes[kind])} {kind}" for kind in kinds if changes[kind])
        others = f", {sum(changes['other'].values())} other" if changes["other"] else ""
        encoded = f"; {changes['passages']:,} passages encoded"
        self._row(name, time.perf_counter() - start, counts + others + encoded)
        return changes

    def _command(self, kb: Path) -> list[str]:
        command = [sys.executable, "-m", "m3rag", "index", str(self._made.root), "--to", str(kb)]
        return [*command, "--model", "tiny", "--json"]

    def _row(self, *row: Any) -> None:
        self.rows.append(row)
        print(f"| {row[0]} | {row[1]:.1f} | {row[2]} |", flush=True)  # noqa: T201  # the result


def _stored(kb: Path) -> int:
    """Return the number of passages in an index that another process has open."""
    try:
        uri = f"file:{kb / 'passages.db'}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM passage").fetchone()[0])
    except sqlite3.Error:  # not there yet
        return 0


def main() -> None:
    """Make the folder, take all steps, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=80, help="sets of 24 files")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, M3Model.load("tiny") as model:
        made = MixedFolder(Path(scratch, "company"), options.sets, seed=options.seed)
        print(f"{len(made):,} files\n\n| step | seconds | result |\n|---|---|---|")  # noqa: T201
        Trial(made, Path(scratch), model).run()


if __name__ == "__main__":
    main()
