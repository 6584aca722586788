"""This checkout compared with another one: imports, start, encoding, indexes, searches.

    python benchmarks/compare.py CHECKOUT [--runs 5] [--save]

CHECKOUT is the code before a change, such as a `git worktree` of an older commit; this checkout is
the code after it. Both run with the same interpreter and packages, in processes of their own. In
each run both processes are new and take turns of about a second, so what else the machine does
falls on both; the side that begins alternates. A run gives the median of the turns of each side,
and the median of the ratios of two turns that follow each other. The table has the medians of the
runs, with the lowest and the highest, and the ratio of the fastest calls of all runs, which other
work on the machine disturbs least. A ratio below 1 says that this checkout is faster.

The model is "tiny". The passages are the example lessons, cut every 150 characters for the indexes
and every 600 for encoding; the queries are those of `questions.tsv`. Encoding runs without the
model's memo. Adding and searching find their texts in the memo, so they measure the index alone.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from itertools import cycle
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from m3rag import M3Model, Passage

T = TypeVar("T")
HERE = Path(__file__).resolve().parent
STARTS = 3  # turns in a run of each import and of --help
TURNS = 5  # turns in a run of everything else
INDEXED, ENCODED = 150, 600  # characters of a passage
K, CHANNELS = 10, ("dense", "sparse", "colbert", "bm25")
IMPORTS = ("import m3rag", "import m3rag.langchain", "from m3rag import M3Index, M3Model")
TIMED_IMPORT = """
import sys, time
wall, cpu = time.perf_counter(), time.process_time()
{statement}
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(wall, cpu, sys.modules["m3rag"].__file__)
"""


@dataclass(frozen=True, slots=True)
class Side:
    """A checkout of m3rag and the processes that use it."""

    root: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start Python so that `import m3rag` finds this checkout."""
        return subprocess.Popen(
            [sys.executable, "-P", *arguments],
            env={**os.environ, "PYTHONPATH": str(self.root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> str:
        """What Python prints with this checkout.

        Raises:
            SystemExit: it failed.
        """
        process = self.start(*arguments)
        printed, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"Python failed with the m3rag of {self.root}; its error is above.")
        return printed

    def imported(self, statement: str) -> tuple[float, float]:
        """Wall and CPU seconds of an import in a new process."""
        wall, cpu, file = self.run("-c", TIMED_IMPORT.format(statement=statement)).split(" ", 2)
        self.check(file.strip())
        return float(wall), float(cpu)

    def helped(self) -> float:
        """CPU seconds of a process that prints the command line's help."""
        before = children()
        self.run("-m", "m3rag", "--help")
        return children() - before

    def check(self, file: str) -> None:
        """Refuse the m3rag of another checkout.

        Raises:
            SystemExit: `file` is not of this one.
        """
        if self.root not in Path(file).resolve().parents:
            raise SystemExit(f"{file} was imported, not the m3rag of {self.root}.")

    def revision(self) -> str:
        """The commit, with "+" for changes since; the folder's name where git has no answer."""
        command = ["git", "-C", str(self.root), "describe", "--always", "--dirty=+", "--exclude=*"]
        found = subprocess.run(command, capture_output=True, text=True)
        return found.stdout.strip() or self.root.name


class Worker:
    """A process of a side that does one turn of `work` at a time."""

    def __init__(self, side: Side, threads: int) -> None:
        self._side = side
        self._process = side.start(str(HERE / "compare.py"), "--work", str(threads))

    def turn(self) -> Any:
        """What the next turn gives; None after the last.

        Raises:
            SystemExit: the process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        answer = ""
        with contextlib.suppress(BrokenPipeError):
            print(file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"Work with the m3rag of {self._side.root} failed; see above.")
        return json.loads(answer)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._process.kill()
        self._process.communicate()


@dataclass(slots=True)
class Row:
    """Seconds of one thing on both sides.

    Attributes:
        before: a value a run.
        after: the same.
        ratios: after / before, a value a run.
        fastest: of all calls, before and after.
        turns: of the run that goes on: the calls of both sides.
    """

    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    fastest: tuple[float, float] = (float("inf"), float("inf"))
    turns: list[tuple[list[float], list[float]]] = field(default_factory=list)

    def end_run(self) -> None:
        """Make one value of the run's turns."""
        medians = [(statistics.median(a), statistics.median(b)) for a, b in self.turns]
        self.before.append(statistics.median(a for a, _ in medians))
        self.after.append(statistics.median(b for _, b in medians))
        self.ratios.append(statistics.median(b / a for a, b in medians))
        for old, new in self.turns:
            self.fastest = (min(self.fastest[0], *old), min(self.fastest[1], *new))
        self.turns.clear()


class Comparison:
    """Two sides that take turns, and what was measured of them."""

    def __init__(self, before: Side, after: Side) -> None:
        self.before = before
        self.after = after
        self.rows: dict[str, Row] = {}
        self.searches = self.same = 0
        self._turns = 0

    def run(self, starts: int, threads: int) -> None:
        """Measure everything once."""
        for _ in range(starts):
            for statement in IMPORTS:
                imported = partial(Side.imported, statement=statement)
                old, new = self._both(self.before, self.after, imported)
                self._keep(f"`{statement}`", old[:1], new[:1])
                self._keep(f"`{statement}`, CPU", old[1:], new[1:])
            helped = self._both(self.before, self.after, Side.helped)
            self._keep("`m3rag --help`, the process, CPU", *([seconds] for seconds in helped))
        with Worker(self.before, threads) as old_one, Worker(self.after, threads) as new_one:
            while (answers := self._both(old_one, new_one, Worker.turn))[0] is not None:
                self._take(*answers)
        for row in self.rows.values():
            row.end_run()

    def _both(self, old: Any, new: Any, task: Callable[[Any], T]) -> tuple[T, T]:
        self._turns += 1
        if self._turns % 2:
            first = task(old)
            return first, task(new)
        first = task(new)
        return task(old), first

    def _take(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        if "file" in old:
            self.before.check(old["file"])
            self.after.check(new["file"])
        elif "hits" in old:
            self.searches += len(old["hits"])
            self.same += sum(a == b for a, b in zip(old["hits"], new["hits"], strict=True))
        else:
            self._keep(old["name"], old["seconds"], new["seconds"])

    def _keep(self, name: str, old: Sequence[float], new: Sequence[float]) -> None:
        self.rows.setdefault(name, Row()).turns.append((list(old), list(new)))

    def table(self) -> str:
        """The section in Markdown: milliseconds of both sides, and their ratios."""
        lines = [
            f"### {self.after.revision()} (after) compared with {self.before.revision()} (before)",
            "",
            "| milliseconds | before | after | after / before | of the fastest |",
            "|---|---|---|---|---|",
        ]
        for name, row in self.rows.items():
            both = " | ".join(spread([1000 * s for s in side]) for side in (row.before, row.after))
            fastest = row.fastest[1] / row.fastest[0]
            lines.append(f"| {name} | {both} | {spread(row.ratios, 2)} | {fastest:.2f} |")
        same = f"{self.same} of {self.searches} searches"
        return "\n".join([*lines, "", f"Both sides found the same {K} passages in {same}."])


def main() -> None:
    """Compare; or work, as a process of a `Worker`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkout", type=Path, nargs="?", help="the code before the change")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results.md")
    parser.add_argument("--work", type=int, metavar="THREADS", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        turns = work(given.work)
        for _ in sys.stdin:
            print(json.dumps(next(turns, None)), flush=True)
        return
    if given.checkout is None or not (given.checkout / "m3rag" / "__init__.py").exists():
        parser.error(f"CHECKOUT must be a folder with the package m3rag, got {given.checkout}.")
    # Not at the top: `common` imports m3rag, and a worker must not import more than it measures.
    common = import_module("common")
    before, after = Side(given.checkout.resolve()), Side(HERE.parent)
    for side in (before, after):  # compiles modules and fills the file cache
        for statement in IMPORTS:
            side.imported(statement)
        side.helped()
    comparison = Comparison(before, after)
    for n in range(given.runs):
        print(f"Run {n + 1} of {given.runs}", file=sys.stderr, flush=True)
        comparison.run(STARTS, given.threads)
    common.report("compare", comparison.table(), given)


def work(threads: int) -> Iterator[dict[str, Any]]:
    """Use the m3rag that this process imports, a turn at a time.

    Yields:
        The file of m3rag; then names and seconds, and the ids that each search finds.
    """
    import torch

    import m3rag

    torch.set_num_threads(threads)
    yield {"file": m3rag.__file__}
    for _ in range(TURNS):
        yield timed("loading tiny", 2, lambda: m3rag.M3Model.load("tiny").close())
    with m3rag.M3Model.load("tiny", memo_bytes=0) as model:
        yield from encoding(model)
    with m3rag.M3Model.load("tiny") as model, tempfile.TemporaryDirectory() as folder:
        yield from indexing(model, "in memory", None)
        yield from indexing(model, "in a folder", Path(folder))
        for _ in range(TURNS):
            seconds = [reopening(model, Path(folder, str(TURNS))) for _ in range(2)]
            yield {"name": "opening the folder", "seconds": seconds}


def encoding(model: M3Model) -> Iterator[dict[str, Any]]:
    """Encode 64 passages in one call, and single queries."""
    texts = [passage.text for passage in passages(ENCODED)]
    chosen = texts[:: len(texts) // 64][:64]
    asked = cycle(queries())
    for _ in range(TURNS):
        yield timed("encoding 64 passages", 3, lambda: model.encode(chosen))
    for _ in range(TURNS):
        yield timed("encoding a query", 100, lambda: model.encode([next(asked)]))


def indexing(model: M3Model, place: str, folder: Path | None) -> Iterator[dict[str, Any]]:
    """Add all passages to new indexes, and search the last by all channels.

    The indexes of a folder are in its folders "0", "1" and so on. The first one is not counted: the
    model may encode for it.
    """
    from m3rag import M3Index

    every, asked = passages(INDEXED), queries()
    for n in range(TURNS + 1):
        index = M3Index.open(folder and folder / str(n), model=model)
        seconds = seconds_of(index.add, every)
        if n > 0:
            yield {"name": f"adding {len(every):,} passages {place}", "seconds": [seconds]}
        if n < TURNS:
            index.close()
    with index:
        found = [index.search(query, K, channels=CHANNELS) for query in asked]
        yield {"hits": [[hit.passage.id for hit in hits] for hits in found]}
        turns = cycle(asked)
        for _ in range(TURNS):
            yield timed(
                f"a search {place}",
                2 * len(asked),
                lambda: index.search(next(turns), K, channels=CHANNELS),
            )


def reopening(model: M3Model, folder: Path) -> float:
    """Seconds until the index in a folder is open; closing it is not counted."""
    from m3rag import M3Index

    start = time.perf_counter()
    index = M3Index.open(folder, model=model)
    seconds = time.perf_counter() - start
    index.close()
    return seconds


def passages(characters: int) -> list[Passage]:
    """The example lessons, cut into passages of so many characters."""
    from m3rag import Passage

    found = []
    for file in sorted((HERE.parent / "examples" / "lessons").glob("*.md")):
        text = file.read_text("utf-8")
        for start in range(0, len(text), characters):
            part = text[start : start + characters]
            metadata = {"lang": file.name[:2]}
            found.append(Passage(f"{file.name}#{start}", part, metadata, document_id=file.name))
    return found


def queries() -> list[str]:
    """The questions of `questions.tsv`."""
    with (HERE / "questions.tsv").open(encoding="utf-8") as file:
        return [row["question"] for row in csv.DictReader(file, delimiter="\t")]


def timed(name: str, times: int, task: Callable[[], object]) -> dict[str, Any]:
    """The seconds of a task's calls; a few calls before, a tenth as many, are not counted."""
    for _ in range(max(1, times // 10)):
        task()
    return {"name": name, "seconds": [seconds_of(task) for _ in range(times)]}


def seconds_of(task: Callable[..., object], *arguments: object) -> float:
    """The seconds that a call takes."""
    start = time.perf_counter()
    task(*arguments)
    return time.perf_counter() - start


def children() -> float:
    """CPU seconds of the processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def spread(values: Sequence[float], digits: int | None = None) -> str:
    """The median, and the lowest and the highest if there are several values."""
    middle = statistics.median(values)
    if digits is None:
        digits = 0 if middle >= 100 else 1 if middle >= 10 else 2
    text = f"{middle:,.{digits}f}"
    if len(values) > 1:
        text += f" ({min(values):,.{digits}f}–{max(values):,.{digits}f})"
    return text


if __name__ == "__main__":
    main()
