"""Minutes of mixed queries and adds from 16 threads and an event loop: memory, errors, results.

    python benchmarks/soak.py [--minutes 10]

Each searches questions whose answers were taken down before, and adds passages again that are there
already, so that answers must not change. The model computes in float32, as in 16 bits a text's
vectors depend a little on what it shares a pass with. Before that, a packed row of each size is
encoded: oneDNN keeps compiled code for every size, of tiny 66 MB in all, and would come across the
rarer ones for minutes. A line each five seconds; memory is read then, of this process and of the
engine's: its median in the last third of the time may be 5 % over that in the second third. Exits
with 1 if something is wrong. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence
from statistics import median

from common import LESSONS
from proc import status

from m3rag import Hit, M3Index, M3Model, split
from m3rag.documents import read
from m3rag.errors import TruncationWarning
from m3rag.stores.edge.store import EdgeStore

THREADS, TASKS, GROWTH, EVERY = 16, 4, 1.05, 5.0


class Soak:
    """An index, what its answers must be, and what went wrong."""

    def __init__(self, index: M3Index, store: EdgeStore) -> None:
        self.index = index
        self.store = store
        self.passages = list(index.passages())
        self.questions = [p.text[:80].strip() for p in self.passages[:40] if p.text.strip()]
        self.expected = {q: answer(index.search(q, k=5)) for q in self.questions}
        self.wrong: list[str] = []
        self.searches = self.adds = 0

    def check(self, question: str, hits: list[Hit]) -> None:
        """Compare an answer with the first one: the same passages, scores to 1e-4."""
        self.searches += 1
        found, right = answer(hits), self.expected[question]
        same = found.keys() == right.keys()
        if not same or max(abs(found[i] - right[i]) for i in right) > 1e-4:
            self.wrong.append(f"{question!r}: {found} instead of {right}")

    def thread(self, seed: int, end: float) -> None:
        """Search four times out of five, else add what is there."""
        rng = random.Random(seed)
        while time.monotonic() < end:
            try:
                if rng.random() < 0.8:
                    question = rng.choice(self.questions)
                    self.check(question, self.index.search(question, k=5))
                else:
                    self.index.add(rng.sample(self.passages, 4))
                    self.adds += 1
            except Exception as error:
                self.wrong.append(repr(error))

    async def tasks(self, end: float) -> None:
        """The same in an event loop."""
        await asyncio.gather(*(self._task(seed, end) for seed in range(TASKS)))

    async def _task(self, seed: int, end: float) -> None:
        rng = random.Random(-seed)
        while time.monotonic() < end:
            question = rng.choice(self.questions)
            try:
                self.check(question, await self.index.asearch(question, k=5))
            except Exception as error:
                self.wrong.append(repr(error))

    def memory(self) -> tuple[int, int]:
        """Megabytes that are in no file: of this process, and of the engine's."""
        processes = ("self", self.store.process.pid)
        ours, engine = (status("RssAnon", process) // 1000 for process in processes)
        return ours, engine


def main() -> None:
    """Run, and print what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    print("Indexing, and taking down the answers", flush=True)
    with (
        tempfile.TemporaryDirectory() as kb,
        M3Model.load("tiny", dtype="float32", memo_bytes=1 << 22) as model,
        M3Index.open(kb, model=model) as index,
    ):
        for file in sorted(LESSONS.glob("*.md")):
            index.add(split(read(file), model.tokenizer))
        warm_up(model)
        assert isinstance(index._store, EdgeStore)
        sys.exit(run(Soak(index, index._store), minutes))


def warm_up(model: M3Model) -> None:
    """Encode so many tokens at once as a packed row has after it is rounded up, each number."""
    text = min(LESSONS.glob("*.md")).read_text("utf-8")[:6000]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # each text is cut to the size wanted
        for tokens in (*range(16, 256, 16), *range(256, 2049, 64)):
            n = -(-tokens // 512)
            model.encode([f"{tokens} {i} {text}" for i in range(n)], max_length=tokens // n)


def run(soak: Soak, minutes: float) -> int:
    """The exit status: 0 if nothing is wrong."""
    start = time.monotonic()
    end = start + 60 * minutes
    threads = [threading.Thread(target=soak.thread, args=(n, end)) for n in range(THREADS)]
    threads.append(threading.Thread(target=lambda: asyncio.run(soak.tasks(end))))
    for thread in threads:
        thread.start()
    readings = []
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(EVERY, left))
        readings.append(soak.memory())
        done = f"{soak.searches:,} searches, {soak.adds:,} adds, {len(soak.wrong)} wrong"
        print(f"{time.monotonic() - start:4.0f} s: {done}; MB: {readings[-1]}", flush=True)
    for thread in threads:
        thread.join()
    late = time.monotonic() - end
    columns = list(zip(*readings, strict=True))
    grown = [growth(column) for column in columns]
    print(
        f"{minutes:g} minutes and {late:.1f} s, {THREADS} threads, {TASKS} tasks: "
        f"{soak.searches:,} searches, {soak.adds:,} adds of 4 passages, {len(soak.wrong)} wrong."
    )
    for name, column, ratio in zip(("this process", "the engine"), columns, grown, strict=True):
        print(f"Memory of {name}: {min(column)} to {max(column)} MB, last third × {ratio:.3f}.")
    for line in soak.wrong[:5]:
        print(line)
    return int(bool(soak.wrong) or max(grown) > GROWTH)


def growth(readings: Sequence[int]) -> float:
    """The median of the last third over that of the third before."""
    third = max(1, len(readings) // 3)
    return median(readings[-third:]) / median(readings[-2 * third : -third] or readings)


def answer(hits: list[Hit]) -> dict[str, float]:
    """The passages found, and their scores."""
    return {hit.passage.id: hit.score for hit in hits}


if __name__ == "__main__":
    main()
